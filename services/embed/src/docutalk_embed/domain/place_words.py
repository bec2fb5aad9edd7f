"""Words that decide whether a name is that of a place. In lower case; languages are mixed, because texts mix them."""

from __future__ import annotations


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


COMMON = _words(
    """
ada adachi adelaide aguilar ahlen aihara airport ajax aku alba albi alexandria alhambra alice allen alliance along alot alpha
alt alta alte alvarez alvin amber america americana ames amet amherst anak anderson andrews angel angers annex antioch antony
apex apolda apple april araras archway armenia arnold ashley assis astoria athens atlas auch august aurora austin autun avenue
bad baden balsas bar bari barking barrie barry bath battle bay beach bear beaumont beaune bedford belgrano bell bella belle
bellevue bello bend bendorf berat bergen berkeley best bethesda beverly bihar billings birch black blackburn blue bolton boom
bor borne boulder bow bradford braga brand brandon brent brest breves brick bridge brighton bristol brits broken bronx brook
brooklyn bruce buda buena buffalo bull burbank burgos burke bursa burton bury butler butte butterfly buy byron cali calvin
calw camden campbell candelaria cannon canton capas capital carlisle carlsbad carmel carmona carol carolina carrefour carson
cartago carter cary castillo castres castro celle central centurion cerro chad chandler charlotte chavez chelsea chester chico
chihuahua chinatown christchurch christian clay clearwater cleveland clifton clinton clovis clyde coast coburg colina colombo
colon columbia columbus commerce commonwealth como concepcion concepción concord concordia converse cook coral cork coro
corona coronel corrientes crawley creil crosby cross cruz crystal cuba culver cypress dakota dale dallas dalton dan dar darwin
date davenport davie davis dawson dayton deal dean decatur deer delft delicias delta denton denver depew derby diamond diaz
diego diez dole dome douglas dover downey dudley duncan dunn durham eagle ede eden edison ejido elgin elizabeth elk ellis
elmira eloy elsa ely emden enfield enterprise ephesus epping erie esperanza essen essex euclid eugene eureka evans evanston
everest everett evry fairfield fate february federal fernandez fernando florence flores florida floyd fontana forest formosa
forst fort fortuna fox franca francisco frank franklin fraser fremont fresno frisco fritz front fulton gama gap garcia gardner
garland gary gay george georgetown gilbert glen glendale goes golden golfe gomez gonzalez good gore graham granada grand grant
grasse grays great green greenwood gresham griffin grove guadalupe guinea guli gutierrez guzman hagen hague hall halle
hamilton hamm hamme hammond hampton hanford hannover harbor hardy harlem harper harrison harrow hart harvey hastings havelock
hayes hays hayward heath hebi heide helena hemer hemet henderson henry herne herrera hidalgo highland hill hilo hitachi hobart
hobbs hof holiday holland hollister hollywood holy home hook hope houston howard hub hudson hull humble hunter huntington hyde
hürth imperial independence independencia indio industry ipswich irvine irving isla island itu jackson jam james janesville
januar januari jasper jeddah jefferson jena jerome jersey jimenez jolo jordan joy juan junction june jupiter justice kali kamp
kawasaki kehl keller kelly kennedy kent kerman keystone kim king kingston kirov kita klin knox komatsu korea kota lacey
lafayette lagarto lage lages lagrange lahr lake lampa lancaster landau lander langley langue laon laplace laredo latin latina
lauf laurel laut laval lawrence lead leimen lena lend lens leo leon leonardo leone lewis lexington liberal libertad liberty
lima limburg lincoln linden lisle livingston lodi logan lohmar loni lopez lorain lord lorenzo loreto love lowell lucas luther
luz lynn lyon mach madison magna magnolia mainz malabon malden male mali malta malvern man manage manchester mansfield maple
march marco maria marion mark marks marl marshall martin martinez mary mason massy mati mau max maxwell may mayen mayfield
mcallen mcdonald meads meaux media medina melbourne melrose mendez mendoza mentor mercedes mercer merida meriden meridian
merlo mesa mesquite metro midland midstream midway milan miles milford miller milo milton minden mine miramar mission mobile
modesto mol moline monaco monday monroe monrovia monsanto montana monte montgomery moor moore mora morales more moreno morgan
morris morton mosquera moss most mount much mumford munoz murphy murray muse mustang naga nancy napa naples nara natal natick
national nazareth nelson neon neu neuen new newark newport newton nice nigel niger nobel noble none norden norfolk normal
norman north norton norwich nova novo oak oba oban ocean ochota od of officer ogden olive olympia one ontario opportunity oral
oran orange oregon orion orlando orsay ortiz osage osman oswego oxford pace pacific page palm palma palmas palmer pandi para
paradise paramount pari parker parla parma parole pasadena pasco passos pasto pau paulo paz peak pearl peine pen penn peoria
pereira perez perm perris perry perth pest peter peters petersburg phoenix pierre pine piper pittsburgh plain plano plast
plata plunge plymouth poissy pola police polo pomona ponce poole pop port portage porter portland posadas post potter powder
prato preston price princeton privas progreso progress prospect prosper providence provo pueblo puma puno pure queens quincy
racine raleigh ralston ramirez ramos ramsey ranger rayleigh raymond reading real redmond rees regen regina reservoir retiro
retreat reunion reus rialto rich richardson richmond ridge ringwood rio rivera riverside robbins robert robertson rochester
rock rockford rockwell rocky rodriguez rogers rojas rolla roma roman romeo romero rosa rosario rose roseville ross roswell
roth round rowland roy royal rugby ruiz ruse russell rustic rye saga saint sake sale salem salina salinas salon salt salta
salto salvador same san sanchez sanders sanford sanger santa santana santiago santo santos sarandi sari savage savannah sawyer
say schwerin scott sedan sedona seek seguin selma semen semi seneca sens serra serrano seven severn shan shaping sharon shaw
shelby shelton shepherd sherman shirley shu sidney siegen sierra silang silva sim simpson singen sinop skip slough smart
smiths snow sobral sofia solar soledad solo solon somerset sonora soo south souza sparks spencer speyer split spring
springfield springs square st stade stafford stamford standish stanley stanton star stark state steele stein sterling stern
stevens stewart stone stratford stuart sue suez suffolk sugar sumber summer summit sun sunday sunrise superior surat surprise
surrey sutton sweet swift sydney tak takeo talent tampa tank tanta taylor tell tempe temple teni terrebonne thames the thomas
thornton time timon titan toledo tomas tomball tomé torrance torrent torres touba tours tower toyota trenton trier trindade
trinidad trinity troy truth tucker tulsa turbo turin turkey turner tyler uelzen ulm un una union unity universal university
unión upper urban usera vale valence valencia valenzuela valera vallejo valley van vance varel vargas vaughan vedado vega
venice venus vera verden vernon verona viana vic vichy victor victoria vienna vigo villa vince vincennes vineyard viola
virginia vista vitoria wa wai wakefield walkden walker wallace wallis waltham walton ward warner warren warrington warsaw
warwick washington waterford waterloo watford watson wau wayne webb webster wedding wedel weiden wellington wells werder werl
wesel west westminster weston westport white whittier wien wiesloch will wilmington wilson winchester windsor winslow winston
winter wolf wood woods woodstock worms worth wright yakima york young yuma zion zug
"""
)
"""A name from here is believed only with good reason beside it: it is a word of some language, a first name, a surname, a
month, or the name of something else, more often than a place."""
AMBIGUOUS_COUNTRIES = _words(
    """
chad dominica georgia guernsey guinea holland jersey jordan macedonia mali man martinique monaco niger palau reunion togo
turkey us
"""
)
"""Countries whose name is also a person's, a word's or another place's."""
LOCATIVE = _words(
    """
across around aus außerhalb bei desde em en hacia in innerhalb inside naar nach nahe near outside près throughout uit vers
within à в во г город городе из около под
"""
)
"""Before a place, and seldom before a person."""
DIRECTIVE = _words(
    """
at between bis da de di for from leave left of på reach reached through til till to toward towards via visit visited visiting
von zu über
"""
)
"""Before a place, but as well before other things."""
DIRECTIVE_ABROAD = _words(
    """
a do i per
"""
)
"""The same in languages other than English, where they are articles and pronouns."""
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
archbishop bank baron baroness battle bishop book count countess courts duchess duke earl gulf house isle lady law laws lord
marquess merchant prince princess sea siege statue strait straits treaty
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
