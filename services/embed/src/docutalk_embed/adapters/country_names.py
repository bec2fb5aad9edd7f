"""What countries are called in languages other than English, by ISO 3166-1 alpha-2.

The gazetteer's package has English names only. These are from the Unicode CLDR (Unicode License V3), without the smallest
territories and without names that are first names too, with a few that are common besides.
"""

from __future__ import annotations

_NAMES = {
    "de": """
AE=Vereinigte Arabische Emirate|Vereinigten Arabischen Emirate|Vereinigten Arabischen Emiraten; AL=Albanien;
AM=Armenien; AR=Argentinien; AT=Österreich|Oesterreich; AU=Australien; AZ=Aserbaidschan; BA=Bosnien und Herzegowina;
BD=Bangladesch; BE=Belgien; BG=Bulgarien; BN=Brunei Darussalam; BO=Bolivien; BR=Brasilien; BW=Botsuana|Botswana;
BY=Weißrussland; CA=Kanada; CD=Kongo-Kinshasa|Kongo; CF=Zentralafrikanische Republik; CG=Kongo-Brazzaville; CH=Schweiz;
CI=Côte d'Ivoire|Elfenbeinküste; CM=Kamerun; CN=Volksrepublik China; CO=Kolumbien; CU=Kuba; CY=Zypern;
CZ=Tschechien|Tschechische Republik; DE=Deutschland; DJ=Dschibuti; DK=Dänemark;
DO=Dominikanische Republik|Dominikanischen Republik; DZ=Algerien; EE=Estland; EG=Ägypten; EH=Westsahara; ES=Spanien;
ET=Äthiopien; FI=Finnland; FJ=Fidschi; FO=Färöer; FR=Frankreich; GA=Gabun;
GB=Vereinigtes Königreich|Großbritannien|England|Schottland|Nordirland; GE=Georgien; GL=Grönland; GQ=Äquatorialguinea;
GR=Griechenland; HK=Hongkong; HR=Kroatien; HU=Ungarn; ID=Indonesien; IE=Irland; IN=Indien; IQ=Irak; IR=Iran; IS=Island;
IT=Italien; JM=Jamaika; JO=Jordanien; KE=Kenia; KG=Kirgisistan; KH=Kambodscha; KM=Komoren; KP=Nordkorea; KR=Südkorea;
KZ=Kasachstan; LB=Libanon; LT=Litauen; LU=Luxemburg; LV=Lettland; LY=Libyen; MA=Marokko;
MD=Republik Moldau|Moldau|Moldawien; MG=Madagaskar; MK=Nordmazedonien; MN=Mongolei; MR=Mauretanien; MV=Malediven;
MX=Mexiko; MZ=Mosambik; NC=Neukaledonien; NL=Niederlande|Holland; NO=Norwegen; NZ=Neuseeland;
PF=Französisch-Polynesien; PG=Papua-Neuguinea; PH=Philippinen; PL=Polen; PS=Palästinensische Autonomiegebiete;
QA=Katar; RO=Rumänien; RS=Serbien; RU=Russland|Rußland; RW=Ruanda; SA=Saudi-Arabien; SB=Salomonen; SC=Seychellen;
SE=Schweden; SG=Singapur; SI=Slowenien; SK=Slowakei; SS=Südsudan; SY=Syrien; TD=Tschad; TJ=Tadschikistan; TN=Tunesien;
TR=Türkei|Tuerkei; TT=Trinidad und Tobago; TZ=Tansania;
US=Vereinigte Staaten|USA|Vereinigten Staaten|Vereinigten Staaten von Amerika; UZ=Usbekistan; VA=Vatikanstadt;
YE=Jemen; ZA=Südafrika; ZM=Sambia; ZW=Simbabwe|Zimbabwe
""",
    "fr": """
AD=Andorre; AE=Émirats arabes unis|Emirats arabes unis; AL=Albanie; AM=Arménie; AR=Argentine; AT=Autriche;
AU=Australie; AZ=Azerbaïdjan; BA=Bosnie-Herzégovine; BB=Barbade; BE=Belgique; BG=Bulgarie; BH=Bahreïn; BJ=Bénin;
BO=Bolivie; BR=Brésil; BT=Bhoutan; BY=Biélorussie; CD=Congo-Kinshasa|République démocratique du Congo;
CF=République centrafricaine; CG=Congo-Brazzaville; CH=Suisse; CI=Côte d'Ivoire; CL=Chili; CM=Cameroun; CN=Chine;
CO=Colombie; CV=Cap-Vert; CY=Chypre; CZ=Tchéquie|République tchèque; DE=Allemagne; DK=Danemark;
DO=République dominicaine; DZ=Algérie; EC=Équateur|Equateur; EE=Estonie; EG=Égypte|Egypte; EH=Sahara occidental;
ER=Érythrée; ES=Espagne; ET=Éthiopie|Ethiopie; FI=Finlande; FJ=Fidji; FO=Îles Féroé;
GB=Royaume-Uni|Grande-Bretagne|Angleterre|Écosse; GE=Géorgie; GL=Groenland; GM=Gambie; GN=Guinée;
GQ=Guinée équatoriale; GR=Grèce; GW=Guinée-Bissau; HR=Croatie; HT=Haïti; HU=Hongrie; ID=Indonésie; IE=Irlande;
IL=Israël; IM=Île de Man; IN=Inde; IQ=Irak; IS=Islande; IT=Italie; JM=Jamaïque; JO=Jordanie; JP=Japon; KG=Kirghizstan;
KH=Cambodge; KM=Comores; KP=Corée du Nord; KR=Corée du Sud; KW=Koweït; LB=Liban; LT=Lituanie; LV=Lettonie; LY=Libye;
MA=Maroc; MD=Moldavie; ME=Monténégro; MK=Macédoine du Nord; MN=Mongolie; MR=Mauritanie; MT=Malte; MX=Mexique;
MY=Malaisie; NA=Namibie; NC=Nouvelle-Calédonie; NL=Pays-Bas; NO=Norvège; NP=Népal; NZ=Nouvelle-Zélande; PE=Pérou;
PF=Polynésie française; PG=Papouasie-Nouvelle-Guinée; PL=Pologne; PR=Porto Rico; PS=Territoires palestiniens;
RE=La Réunion; RO=Roumanie; RS=Serbie; RU=Russie; SA=Arabie saoudite; SB=Îles Salomon; SD=Soudan; SE=Suède;
SG=Singapour; SI=Slovénie; SK=Slovaquie; SM=Saint-Marin; SN=Sénégal; SO=Somalie; SS=Soudan du Sud; SV=Salvador;
SY=Syrie; TD=Tchad; TH=Thaïlande; TJ=Tadjikistan; TL=Timor oriental; TM=Turkménistan; TN=Tunisie; TR=Turquie;
TT=Trinité-et-Tobago; TW=Taïwan; TZ=Tanzanie; UG=Ouganda; US=États-Unis|Etats-Unis|États-Unis d'Amérique;
UZ=Ouzbékistan; VA=État de la Cité du Vatican; VN=Viêt Nam|Vietnam; YE=Yémen; ZA=Afrique du Sud; ZM=Zambie
""",
    "es": """
AE=Emiratos Árabes Unidos; AF=Afganistán; AZ=Azerbaiyán; BA=Bosnia y Herzegovina; BD=Bangladés; BE=Bélgica; BH=Baréin;
BJ=Benín; BN=Brunéi; BR=Brasil; BT=Bután; BW=Botsuana; BY=Bielorrusia; BZ=Belice; CA=Canadá;
CD=República Democrática del Congo; CF=República Centroafricana; CH=Suiza; CI=Côte d'Ivoire|Costa de Marfil;
CM=Camerún; CY=Chipre; CZ=Chequia|República Checa; DE=Alemania; DJ=Yibuti; DK=Dinamarca; DO=República Dominicana;
DZ=Argelia; EG=Egipto; EH=Sáhara Occidental; ES=España; ET=Etiopía; FI=Finlandia; FJ=Fiyi; FO=Islas Feroe; FR=Francia;
GA=Gabón; GB=Reino Unido|Gran Bretaña|Inglaterra|Escocia; GL=Groenlandia; GP=Guadalupe; GQ=Guinea Ecuatorial;
GR=Grecia; GW=Guinea-Bisáu; HR=Croacia; HT=Haití; HU=Hungría; IE=Irlanda; IM=Isla de Man; IQ=Irak; IR=Irán;
IS=Islandia; IT=Italia; JO=Jordania; JP=Japón; KE=Kenia; KG=Kirguistán; KH=Camboya; KM=Comoras; KP=Corea del Norte;
KR=Corea del Sur; KZ=Kazajistán; LB=Líbano; LS=Lesoto; LT=Lituania; LU=Luxemburgo; LV=Letonia; LY=Libia; MA=Marruecos;
MC=Mónaco; MD=Moldavia; MK=Macedonia del Norte; MQ=Martinica; MV=Maldivas; MW=Malaui; MX=México; MY=Malasia;
NC=Nueva Caledonia; NE=Níger; NL=Países Bajos|Holanda; NO=Noruega; NZ=Nueva Zelanda; OM=Omán; PA=Panamá; PE=Perú;
PF=Polinesia Francesa; PG=Papúa Nueva Guinea; PH=Filipinas; PK=Pakistán; PL=Polonia; PS=Territorios Palestinos;
QA=Catar; RO=Rumanía; RU=Rusia; RW=Ruanda; SA=Arabia Saudí|Arabia Saudita; SB=Islas Salomón; SD=Sudán; SE=Suecia;
SG=Singapur; SI=Eslovenia; SK=Eslovaquia; SL=Sierra Leona; SR=Surinam; SS=Sudán del Sur; SY=Siria; SZ=Esuatini;
TH=Tailandia; TJ=Tayikistán; TM=Turkmenistán; TN=Túnez; TR=Turquía; TT=Trinidad y Tobago; TW=Taiwán; UA=Ucrania;
US=Estados Unidos|EE. UU.; UZ=Uzbekistán; VA=Ciudad del Vaticano; ZA=Sudáfrica; ZW=Zimbabue
""",
    "it": """
AE=Emirati Arabi Uniti; AZ=Azerbaigian; BA=Bosnia ed Erzegovina; BE=Belgio; BH=Bahrein; BR=Brasile; BY=Bielorussia;
CF=Repubblica Centrafricana; CG=Congo-Brazzaville; CH=Svizzera; CI=Costa d'Avorio; CL=Cile; CM=Camerun; CN=Cina;
CV=Capo Verde; CY=Cipro; CZ=Cechia|Repubblica Ceca; DE=Germania; DJ=Gibuti; DK=Danimarca; DO=Repubblica Dominicana;
EG=Egitto; EH=Sahara Occidentale; ES=Spagna; ET=Etiopia; FI=Finlandia; FJ=Figi; FO=Isole Fær Øer; FR=Francia;
GB=Regno Unito|Gran Bretagna|Inghilterra|Scozia; GI=Gibilterra; GL=Groenlandia; GP=Guadalupa; GQ=Guinea Equatoriale;
GR=Grecia; HR=Croazia; HU=Ungheria; IE=Irlanda; IL=Israele; IM=Isola di Man; IS=Islanda; IT=Italia; JM=Giamaica;
JO=Giordania; JP=Giappone; KG=Kirghizistan; KH=Cambogia; KM=Comore; KP=Corea del Nord; KR=Corea del Sud; KZ=Kazakistan;
LB=Libano; LT=Lituania; LU=Lussemburgo; LV=Lettonia; LY=Libia; MA=Marocco; MD=Moldavia; MK=Macedonia del Nord;
MQ=Martinica; MV=Maldive; MX=Messico; MZ=Mozambico; NC=Nuova Caledonia; NL=Paesi Bassi|Olanda; NO=Norvegia;
NZ=Nuova Zelanda; PE=Perù; PF=Polinesia Francese; PG=Papua Nuova Guinea; PH=Filippine; PL=Polonia; PR=Portorico;
PS=Territori Palestinesi; PT=Portogallo; RW=Ruanda; SA=Arabia Saudita; SB=Isole Salomone; SE=Svezia; SK=Slovacchia;
SS=Sud Sudan; SY=Siria; TD=Ciad; TH=Thailandia; TJ=Tagikistan; TL=Timor Est; TR=Turchia; TT=Trinidad e Tobago;
UA=Ucraina; US=Stati Uniti; VA=Città del Vaticano; ZA=Sudafrica
""",
    "pt": """
AE=Emirados Árabes Unidos; AF=Afeganistão; AL=Albânia; AM=Armênia; AT=Áustria; AU=Austrália; AZ=Azerbaijão;
BA=Bósnia e Herzegovina; BE=Bélgica; BF=Burquina Faso; BG=Bulgária; BH=Barein; BO=Bolívia; BR=Brasil; BT=Butão;
BW=Botsuana; BY=Bielorrússia; CA=Canadá; CF=República Centro-Africana; CG=República do Congo; CH=Suíça;
CI=Costa do Marfim; CM=Camarões; CO=Colômbia; CY=Chipre; CZ=Tchéquia|República Tcheca|República Checa; DE=Alemanha;
DJ=Djibuti; DK=Dinamarca; DO=República Dominicana; DZ=Argélia; EC=Equador; EE=Estônia; EG=Egito; EH=Saara Ocidental;
ER=Eritreia; ES=Espanha; ET=Etiópia; FI=Finlândia; FO=Ilhas Faroé; FR=França; GA=Gabão;
GB=Reino Unido|Grã-Bretanha|Inglaterra|Escócia; GE=Geórgia; GH=Gana; GL=Groenlândia; GM=Gâmbia; GN=Guiné; GP=Guadalupe;
GQ=Guiné Equatorial; GR=Grécia; GW=Guiné-Bissau; GY=Guiana; HR=Croácia; HU=Hungria; ID=Indonésia; IE=Irlanda;
IM=Ilha de Man; IN=Índia; IQ=Iraque; IR=Irã; IS=Islândia; IT=Itália; JO=Jordânia; JP=Japão; KE=Quênia|Quénia;
KG=Quirguistão; KH=Camboja; KM=Comores; KP=Coreia do Norte; KR=Coreia do Sul; KZ=Cazaquistão; LB=Líbano; LR=Libéria;
LS=Lesoto; LT=Lituânia; LU=Luxemburgo; LV=Letônia; LY=Líbia; MA=Marrocos; MC=Mônaco; MD=Moldávia;
MK=Macedônia do Norte; MM=Mianmar; MN=Mongólia; MQ=Martinica; MR=Mauritânia; MV=Maldivas; MW=Malaui; MX=México;
MY=Malásia; MZ=Moçambique; NA=Namíbia; NC=Nova Caledônia; NE=Níger; NG=Nigéria; NI=Nicarágua; NL=Países Baixos|Holanda;
NO=Noruega; NZ=Nova Zelândia; OM=Omã; PA=Panamá; PF=Polinésia Francesa; PG=Papua-Nova Guiné; PH=Filipinas;
PK=Paquistão; PL=Polônia|Polónia; PR=Porto Rico; PS=Territórios palestinos; PY=Paraguai; QA=Catar; RO=Romênia|Roménia;
RS=Sérvia; RU=Rússia; RW=Ruanda; SA=Arábia Saudita; SB=Ilhas Salomão; SC=Seicheles; SD=Sudão; SE=Suécia; SG=Singapura;
SI=Eslovênia|Eslovénia; SK=Eslováquia; SL=Serra Leoa; SO=Somália; SS=Sudão do Sul; SY=Síria; SZ=Essuatíni; TD=Chade;
TH=Tailândia; TJ=Tadjiquistão; TM=Turcomenistão; TN=Tunísia; TR=Turquia; TT=Trinidad e Tobago; TZ=Tanzânia; UA=Ucrânia;
US=Estados Unidos; UY=Uruguai; UZ=Uzbequistão; VA=Cidade do Vaticano; VN=Vietnã|Vietname; YE=Iêmen; ZA=África do Sul;
ZM=Zâmbia; ZW=Zimbábue
""",
    "nl": """
AE=Verenigde Arabische Emiraten; AL=Albanië; AM=Armenië; AR=Argentinië; AT=Oostenrijk; AU=Australië; AZ=Azerbeidzjan;
BA=Bosnië en Herzegovina; BE=België; BG=Bulgarije; BH=Bahrein; BR=Brazilië; BS=Bahama's; CD=Congo-Kinshasa|Congo;
CF=Centraal-Afrikaanse Republiek; CG=Congo-Brazzaville; CH=Zwitserland; CI=Ivoorkust; CL=Chili; CM=Kameroen;
CV=Kaapverdië; CZ=Tsjechië; DE=Duitsland; DK=Denemarken; DO=Dominicaanse Republiek; DZ=Algerije; EE=Estland; EG=Egypte;
EH=Westelijke Sahara; ES=Spanje; ET=Ethiopië; FO=Faeröer; FR=Frankrijk;
GB=Verenigd Koninkrijk|Groot-Brittannië|Engeland|Schotland; GE=Georgië; GL=Groenland; GN=Guinee; GQ=Equatoriaal-Guinea;
GR=Griekenland; GW=Guinee-Bissau; HK=Hongkong; HR=Kroatië; HT=Haïti; HU=Hongarije; ID=Indonesië; IE=Ierland; IL=Israël;
IQ=Irak; IS=IJsland; IT=Italië; JO=Jordanië; KE=Kenia; KG=Kirgizië; KH=Cambodja; KM=Comoren; KP=Noord-Korea;
KR=Zuid-Korea; KW=Koeweit; KZ=Kazachstan; LB=Libanon; LT=Litouwen; LU=Luxemburg; LV=Letland; LY=Libië; MA=Marokko;
MD=Moldavië; MG=Madagaskar; MK=Noord-Macedonië; MN=Mongolië; MR=Mauritanië; MV=Maldiven; MY=Maleisië; NA=Namibië;
NC=Nieuw-Caledonië; NL=Nederland; NO=Noorwegen; NZ=Nieuw-Zeeland; PF=Frans-Polynesië; PG=Papoea-Nieuw-Guinea;
PH=Filipijnen; PL=Polen; PS=Palestijnse gebieden; RO=Roemenië; RS=Servië; RU=Rusland; SA=Saoedi-Arabië;
SB=Salomonseilanden; SC=Seychellen; SD=Soedan; SE=Zweden; SI=Slovenië; SK=Slowakije; SO=Somalië; SS=Zuid-Soedan;
SY=Syrië; TD=Tsjaad; TJ=Tadzjikistan; TL=Oost-Timor; TN=Tunesië; TR=Turkije; TT=Trinidad en Tobago; UA=Oekraïne;
UG=Oeganda; US=Verenigde Staten; UZ=Oezbekistan; VA=Vaticaanstad; YE=Jemen; ZA=Zuid-Afrika
""",
    "zh": """
AD=安道尔; AE=阿拉伯联合酋长国|阿联酋; AF=阿富汗; AL=阿尔巴尼亚; AM=亚美尼亚; AO=安哥拉; AR=阿根廷; AT=奥地利;
AU=澳大利亚|澳大利亞; AZ=阿塞拜疆; BA=波斯尼亚和黑塞哥维那; BB=巴巴多斯; BD=孟加拉国; BE=比利时; BF=布基纳法索;
BG=保加利亚; BH=巴林; BI=布隆迪; BJ=贝宁; BN=文莱; BO=玻利维亚; BR=巴西; BS=巴哈马; BT=不丹; BW=博茨瓦纳; BY=白俄罗斯;
BZ=伯利兹; CA=加拿大; CD=刚果; CF=中非共和国; CH=瑞士; CI=科特迪瓦; CL=智利; CM=喀麦隆; CN=中国|中國; CO=哥伦比亚;
CR=哥斯达黎加; CU=古巴; CV=佛得角; CY=塞浦路斯; CZ=捷克; DE=德国|德國; DJ=吉布提; DK=丹麦; DO=多米尼加共和国;
DZ=阿尔及利亚; EC=厄瓜多尔; EE=爱沙尼亚; EG=埃及; EH=西撒哈拉; ER=厄立特里亚; ES=西班牙; ET=埃塞俄比亚; FI=芬兰;
FJ=斐济; FO=法罗群岛; FR=法国|法國; GA=加蓬; GB=英国|英國; GE=格鲁吉亚; GH=加纳; GI=直布罗陀; GL=格陵兰; GM=冈比亚;
GN=几内亚; GP=瓜德罗普; GQ=赤道几内亚; GR=希腊; GT=危地马拉; GW=几内亚比绍; GY=圭亚那; HK=香港; HN=洪都拉斯;
HR=克罗地亚; HT=海地; HU=匈牙利; ID=印度尼西亚; IE=爱尔兰; IL=以色列; IM=马恩岛; IN=印度; IQ=伊拉克; IR=伊朗; IS=冰岛;
IT=意大利|義大利; JM=牙买加; JO=约旦; JP=日本; KE=肯尼亚; KG=吉尔吉斯斯坦; KH=柬埔寨; KM=科摩罗; KP=朝鲜; KR=韩国|韓國;
KW=科威特; KZ=哈萨克斯坦; LA=老挝; LB=黎巴嫩; LI=列支敦士登; LK=斯里兰卡; LR=利比里亚; LS=莱索托; LT=立陶宛; LU=卢森堡;
LV=拉脱维亚; LY=利比亚; MA=摩洛哥; MC=摩纳哥; MD=摩尔多瓦; MG=马达加斯加; MK=北马其顿; MM=缅甸; MN=蒙古; MO=澳门;
MQ=马提尼克; MR=毛里塔尼亚; MT=马耳他; MU=毛里求斯; MV=马尔代夫; MW=马拉维; MX=墨西哥; MY=马来西亚; MZ=莫桑比克;
NA=纳米比亚; NC=新喀里多尼亚; NE=尼日尔; NG=尼日利亚; NI=尼加拉瓜; NL=荷兰; NO=挪威; NP=尼泊尔; NZ=新西兰; OM=阿曼;
PA=巴拿马; PE=秘鲁; PF=法属波利尼西亚; PG=巴布亚新几内亚; PH=菲律宾; PK=巴基斯坦; PL=波兰; PR=波多黎各;
PS=巴勒斯坦领土; PT=葡萄牙; PY=巴拉圭; QA=卡塔尔; RE=留尼汪; RO=罗马尼亚; RS=塞尔维亚; RU=俄罗斯|俄羅斯; RW=卢旺达;
SA=沙特阿拉伯; SB=所罗门群岛; SC=塞舌尔; SD=苏丹; SE=瑞典; SG=新加坡; SI=斯洛文尼亚; SK=斯洛伐克; SL=塞拉利昂;
SM=圣马力诺; SN=塞内加尔; SO=索马里; SR=苏里南; SS=南苏丹; SV=萨尔瓦多; SY=叙利亚; SZ=斯威士兰; TD=乍得; TG=多哥;
TH=泰国|泰國; TJ=塔吉克斯坦; TL=东帝汶; TM=土库曼斯坦; TN=突尼斯; TR=土耳其; TT=特立尼达和多巴哥; TW=台湾|臺灣;
TZ=坦桑尼亚; UA=乌克兰; UG=乌干达; US=美国|美國; UY=乌拉圭; UZ=乌兹别克斯坦; VA=梵蒂冈; VE=委内瑞拉; VN=越南|越南;
VU=瓦努阿图; XK=科索沃; YE=也门; YT=马约特; ZA=南非; ZM=赞比亚; ZW=津巴布韦
""",
    "ja": """
AD=アンドラ; AE=アラブ首長国連邦; AF=アフガニスタン; AL=アルバニア; AM=アルメニア; AO=アンゴラ; AR=アルゼンチン;
AT=オーストリア; AU=オーストラリア; AZ=アゼルバイジャン; BA=ボスニア・ヘルツェゴビナ; BB=バルバドス; BD=バングラデシュ;
BE=ベルギー; BF=ブルキナファソ; BG=ブルガリア; BH=バーレーン; BI=ブルンジ; BJ=ベナン; BN=ブルネイ; BO=ボリビア;
BR=ブラジル; BS=バハマ; BT=ブータン; BW=ボツワナ; BY=ベラルーシ; BZ=ベリーズ; CA=カナダ; CD=コンゴ民主共和国;
CF=中央アフリカ共和国; CG=コンゴ共和国; CH=スイス; CI=コートジボワール; CM=カメルーン; CN=中国|中国; CO=コロンビア;
CR=コスタリカ; CU=キューバ; CV=カーボベルデ; CY=キプロス; CZ=チェコ; DE=ドイツ; DJ=ジブチ; DK=デンマーク;
DO=ドミニカ共和国; DZ=アルジェリア; EC=エクアドル; EE=エストニア; EG=エジプト; EH=西サハラ; ER=エリトリア; ES=スペイン;
ET=エチオピア; FI=フィンランド; FJ=フィジー; FO=フェロー諸島; FR=フランス; GA=ガボン; GB=イギリス|英国; GH=ガーナ;
GI=ジブラルタル; GL=グリーンランド; GM=ガンビア; GN=ギニア; GP=グアドループ; GQ=赤道ギニア; GR=ギリシャ; GT=グアテマラ;
GW=ギニアビサウ; GY=ガイアナ; HK=香港; HN=ホンジュラス; HR=クロアチア; HT=ハイチ; HU=ハンガリー; ID=インドネシア;
IE=アイルランド; IL=イスラエル; IM=マン島; IN=インド; IQ=イラク; IR=イラン; IS=アイスランド; IT=イタリア;
JM=ジャマイカ; JO=ヨルダン; JP=日本; KE=ケニア; KG=キルギス; KH=カンボジア; KM=コモロ; KP=北朝鮮; KR=韓国|韓国;
KW=クウェート; KZ=カザフスタン; LA=ラオス; LB=レバノン; LI=リヒテンシュタイン; LK=スリランカ; LR=リベリア; LS=レソト;
LT=リトアニア; LU=ルクセンブルク; LV=ラトビア; LY=リビア; MA=モロッコ; MC=モナコ; MD=モルドバ; ME=モンテネグロ;
MG=マダガスカル; MK=北マケドニア; MM=ミャンマー; MN=モンゴル; MQ=マルティニーク; MR=モーリタニア; MT=マルタ;
MU=モーリシャス; MV=モルディブ; MW=マラウイ; MX=メキシコ; MY=マレーシア; MZ=モザンビーク; NA=ナミビア;
NC=ニューカレドニア; NE=ニジェール; NG=ナイジェリア; NI=ニカラグア; NL=オランダ; NO=ノルウェー; NP=ネパール;
NZ=ニュージーランド; OM=オマーン; PA=パナマ; PE=ペルー; PF=仏領ポリネシア; PG=パプアニューギニア; PH=フィリピン;
PK=パキスタン; PL=ポーランド; PR=プエルトリコ; PS=パレスチナ自治区; PT=ポルトガル; PY=パラグアイ; QA=カタール;
RE=レユニオン; RO=ルーマニア; RS=セルビア; RU=ロシア; RW=ルワンダ; SA=サウジアラビア; SB=ソロモン諸島; SC=セーシェル;
SD=スーダン; SE=スウェーデン; SG=シンガポール; SI=スロベニア; SK=スロバキア; SL=シエラレオネ; SM=サンマリノ;
SN=セネガル; SO=ソマリア; SR=スリナム; SS=南スーダン; SV=エルサルバドル; SY=シリア; SZ=エスワティニ; TD=チャド;
TG=トーゴ; TJ=タジキスタン; TL=東ティモール; TM=トルクメニスタン; TN=チュニジア; TR=トルコ; TT=トリニダード・トバゴ;
TW=台湾; TZ=タンザニア; UA=ウクライナ; UG=ウガンダ; US=アメリカ合衆国|アメリカ|米国; UY=ウルグアイ; UZ=ウズベキスタン;
VA=バチカン市国; VE=ベネズエラ; VN=ベトナム; VU=バヌアツ; XK=コソボ; YE=イエメン; YT=マヨット; ZA=南アフリカ;
ZM=ザンビア; ZW=ジンバブエ
""",
}

COUNTRY_NAMES: dict[str, dict[str, list[str]]] = {
    language: {country: names.split("|") for country, names in (entry.strip().split("=") for entry in listed.split(";"))}
    for language, listed in _NAMES.items()
}
"""Names by language (ISO 639-1) and country."""
