"""Words that decide whether a name is that of a place. In lower case; languages are mixed, because texts mix them."""

from __future__ import annotations


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


COMMON = _words(
    """
ada ahlen airport aku alba alice allen alliance along alot alpha alt alta alte alvin amber america ames amet anak anderson
andrews angel annex antony apex apple april arnold ashley athens atlas auch august aurora austin avenue bad baden bar barking
barry bath battle bay beach bear bedford bell bella belle bello bend berat bergen berkeley best bethesda beverly bihar birch
black blue boom bor borne boulder bow bradford brand brandon brent brest brick bridge brighton bristol broken bronx brook
brooklyn bruce buena buffalo bull burke burton bury butler butte butterfly buy byron cali calvin camden campbell cannon canton
capital carlisle carmel carol carolina carson carter cary central chad chandler charlotte chelsea chester chico christchurch
christian clay cleveland clifton clinton clovis clyde coast coburg colombo colon columbia columbus commerce como concepción
concord converse cook coral corona crosby cross cruz cuba culver cypress dakota dale dallas dalton dan dar darwin date davis
dawson dayton deal dean decatur deer delft delta denton denver depew derby diamond diego dome douglas dover downey duncan dunn
durham eagle ede eden edison elgin elizabeth elk ellis elmira eloy elsa ely enfield enterprise ephesus epping erie esperanza
essen essex euclid eugene eureka evans evanston everest everett fairfield fate february federal fernando florence florida
floyd forest forst fort fortuna fox francisco frank franklin fraser fremont fresno fritz front fulton gap gardner gary gay
georgetown gilbert glen glendale goes golden good gore graham granada grand grant grays great green greenwood griffin grove
guinea hagen hague hall halle hamilton hamm hamme hammond hampton hanford hannover harbor hardy harper harrison harrow hart
harvey hastings havelock hayes hays heath helena hemet henderson henry herne hidalgo highland hill hilo hobart hobbs hof
holiday holland hollister holy home hook hope houston howard hub hudson hull humble hunter huntington hyde hürth imperial
independence independencia indio industry ipswich irvine irving isla island itu jackson jam james janesville januar januari
jasper jeddah jefferson jena jerome jersey jordan joy juan junction june jupiter justice kali keller kelly kent kerman
keystone kim king kingston kita klin knox korea lacey lafayette lage lagrange lake lancaster lander langley langue laplace
laredo latin lauf laurel laut laval lawrence lead lena lend lens leo leon leonardo leone lewis lexington liberal libertad
liberty lima limburg lincoln linden lisle livingston lodi logan lorain lord lorenzo loreto love lowell lucas luther luz lynn
lyon mach madison magna magnolia mainz malden male mali malta malvern man manage manchester mansfield maple march marco maria
marion mark marks marl marshall martin mary mason mau max maxwell may mayfield mcallen mcdonald media melbourne melrose mentor
mercedes mercer merida meriden meridian mesa metro midland midstream midway milan miles milford miller milo minden mine
miramar mission mobile modesto mol moline monaco monday monroe monrovia monsanto montana monte montgomery moor moore mora more
morgan morris morton moss most mount much mumford murphy murray muse mustang nancy napa naples nara natal natick national
nazareth nelson neon neu neuen new newark newport newton nice nigel niger nobel noble none norfolk normal norman north norton
norwich nova novo oak oba oban ocean ochota od of officer ogden olive olympia one ontario opportunity oral orange oregon orion
orlando orsay osage osman oswego oxford pace pacific page palm palma palmas palmer para paradise paramount pari parker parma
parole pasadena pasco pau paulo paz peak pearl pen penn peoria perris perry perth peter peters petersburg phoenix pierre pine
piper pittsburgh plain plano plast plata plunge pola police polo pomona ponce pop port portage porter portland post potter
powder preston price princeton progreso progress prospect prosper providence pueblo puma pure quincy racine raleigh ralston
ramos ramsey ranger rayleigh raymond reading real redmond regen regina reservoir retreat reunion rich richmond ridge ringwood
rio rivera riverside robbins robert robertson rochester rock rockford rockwell rocky rogers rolla roma roman romeo rosa
rosario rose roseville ross roswell roth round rowland roy royal rugby ruse russell rustic rye saga saint sake sale salem
salina salinas salt salvador same san sanders sanford sanger santa santiago santo santos sari savage savannah sawyer say
schwerin scott sedan sedona seek seguin selma semen semi seneca sens serrano seven severn shan shaping sharon shaw shelby
shelton shepherd sherman shirley shu sidney siegen sierra sim simpson singen skip smart smiths snow sofia solar soledad solo
solon somerset sonora soo south sparks spencer split spring springfield springs square st stafford stamford standish stanley
stanton star stark state steele sterling stern stevens stewart stone stratford stuart sue suez suffolk sugar sumber summer
summit sun sunday sunrise superior surat surprise surrey sutton sweet swift sydney tak talent tampa tank taylor tell tempe
temple thames the thomas thornton time titan toledo tomas tomball tomé torrance torrent torres tours tower trenton trier
trinidad trinity troy truth tucker tulsa turbo turin turkey turner tyler ulm un una union unity universal university unión
upper urban vale valence valencia valley van vance venice venus vera vernon verona vic victor victoria vienna villa vince
vincennes vineyard viola virginia vista vitoria wa wai walkden walker wallace wallis waltham walton ward warner warren
warrington warsaw warwick washington waterford waterloo watford watson wau wayne webb webster wedding weiden wellington wells
werder west westminster weston westport white whittier wien will wilmington wilson winchester windsor winslow winston winter
wolf wood woods woodstock worms worth wright yakima york young yuma zion zug
"""
)
"""A name from here is believed only with good reason beside it: it is a word of some language, a first name, a surname, a
month, or the name of something else, more often than a place."""
AMBIGUOUS_COUNTRIES = _words(
    """
chad congo cuba dominica georgia guernsey guinea holland israel jersey jordan macedonia mali man martinique micronesia monaco
niger palau reunion togo turkey us wales
"""
)
"""Countries whose name is also a person's, a word's or another place's."""
LOCATIVE = _words(
    """
across around aus außerhalb bei desde em en hacia in innerhalb inside naar nach nahe near outside près throughout uit vers
within à
"""
)
"""Before a place, and seldom before a person."""
DIRECTIVE = _words(
    """
a at between bis da de di do for from i leave left of per på reach reached through til till to toward towards via visit
visited visiting von zu über
"""
)
"""Before a place, but as well before other things."""
QUALIFIERS = _words(
    """
all amtsgericht ancient capitale central città city ciudad downtown east eastern greater großraum hansestadt hauptstadt
imperial-era inner landeshauptstadt landgericht mainland metro metropolitan midtown modern nord north northeast northeastern
northern northwest northwestern old ost other outer port raum region rest south southeast southeastern southern southwest
southwestern stadt stadtteil suburban süd the total town universität uptown ville west western
"""
)
"""May stand before a place's name with a capital letter, and change nothing."""
FUNCTION_WORDS = _words(
    """
a aber across along am an and any are around as at au auf aus aux avec bei between beyond bis both but by chez con d da dans
das de del della dem den der des desde di die do dos du e each een ein eine einen either el em en et every for from für gli
hacia he her here het his i if il im in into is it its l la las le les lo los mais mit more most na naar nach near no nor not
o oder of on or os ou our outside over par para por pour sans seit she since so some such sur te than that the their then
there these they this those through to two uit un und under une unlike until van vers visit von vor we what when where whether
which while who wie with within without wo y you your zu à über
"""
)
"""Have a capital letter only where a sentence begins."""
TITLES = _words(
    """
aunt baron brother capt captain ceo chairman chancellor coach col colonel count countess dame don doña dr duchess duke father
frau gen general gov governor herr jr judge justice king lady lieutenant lord madame major mayor minister miss monsieur mr mrs
ms mx pope president prince princess prof professor queen rep secretary sen senator sergeant señor señora sgt sir sister sr
uncle
"""
)
"""Before a person's name."""
OWNERS = _words(
    """
archbishop bank baron baroness battle bishop book count countess courts duchess duke earl house isle lady law laws lord
marquess merchant prince princess siege statue treaty
"""
)
"""`Bank of …`: the place is part of the name of something else."""
COMPANIES = _words(
    """
ag bros brothers bv co company corp corporation gmbh group holdings inc llc llp lp ltd nv partners plc sa sons spa
"""
)
"""Behind the name of a company."""
FOLLOWERS = _words(
    """
africa americas and apac area asia city county emea europe international metro metropolitan other province region state total
"""
)
"""May stand behind a place's name with a capital letter, and change nothing."""
SPEAKING = _words(
    """
added adds argued asked asks believes explained herself himself jr noted said says sr tells thinks thought told who whom whose
writes wrote
"""
)
"""Behind a person's name."""
