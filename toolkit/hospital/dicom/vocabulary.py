"""Words that the search for identifying values must know: those that identify nobody, and the names of the months."""

# All folded (see spellings.fold), like everything that is compared. In lines of words, because one word a line would fill pages.

# Parts of names that are not cut by themselves, because nothing could be read without them: particles and grammar, forms of address, the
# abbreviations of modalities, views and units that stand in every series description. Longer words (Head, Brain, Young, Test) are cut.
UNTELLING = frozenset(
    """
    am an and are as at be by do for from he if in is it le me my of on or so the to up we with who un im ist und la les des el los das
    die der den de di da du van von vom zu zum zur bin ibn al ter ten te dos e y i z w o a dr med prof mrs mr ms miss sir md phd jr sr
    ii iii iv pan pani herr frau mme lek hab inz mgr dipl ing rn arrt ap cr ct dx io lr mg mm mri nm no pa pet pt qa qc rf rt rl sc ti
    tr us xa xr dwi adc cta mra fov
    """.split()  # noqa: SIM905
)
# Words of institutions, addresses and ids that name no place and no person.
GENERIC = UNTELLING | frozenset(
    """
    abdomen anon anonymized anonymous arm axial brain breast cardiac cervix chest coronal demo dicom elbow female flair foot hand head
    heart hip image knee left leg liver localizer lung male mammo medical name neck none not null patient pelvis phantom right sagittal
    sample scan scout series shoulder skull slice spect spine study subject test tse unknown volume wrist xray academic associates
    avenue bereich c center centers central centre centrum children childrens chirurgie city clinic clinica clinical clinico clinics
    clinique co college community company county departement department dept diagnostic diagnostics district division east eastern
    emergency exam eye facility faculty first foundation fundacja fur gabinet general gesellschaft gmbh group health healthcare hopital
    hospital hospitalier hospitals house imaging inc institut institute instituto internal international kliniczny klinik klinika
    kliniken klinikum krankenhaus kreis lab laboratory llc ltd magnetic medicine medizin medizinische medyczne medyczny memorial miasto
    miejski ministry national neurology neuroradiology new nhs north northern nuclear nzoz oddzial office oncology ortho orthopedics
    ospedale osrodek outpatient pavilion pediatric pediatrics platz poliklinik poradnia pracownia practice praxis private public
    radiologia radiologie radiologii radiology region regional research resonance road room saint sanitaire scanner school science
    sciences section service services site south southern sp specialist spital spitalul spzoz square state station strasse street
    surgery systems szpital technology tomography town trust ulica unit universitaire universitat universitats universitatsklinikum
    university uniwersytecki uniwersytet veterinary ward west western wojewodzki women womens workstation zaklad zentrum ziekenhuis zoz
    """.split()  # noqa: SIM905
)
_MONTHS = """
    jan january januar janvier enero gennaio janeiro januari styczen stycznia sty ene gen leden ledna
    feb february februar fevrier fev febrero febbraio fevereiro februari luty lutego lut unor unora
    mar march marz mrz maerz mars marzo marco maart mrt marzec marca brezen brezna
    apr april avril avr abril abr aprile kwiecien kwietnia kwi duben dubna
    may mai mayo maggio mag maio mei maj maja kveten kvetna
    jun june juni juin junio giugno giu junho czerwiec czerwca cze cerven cervna
    jul july juli juillet juil julio luglio lug julho lipiec lipca lip cervenec cervence
    aug august aout agosto ago augustus sierpien sierpnia sie srpen srpna
    sep sept september septembre septiembre settembre set setembro wrzesien wrzesnia wrz zari
    oct october oktober okt octobre octubre ottobre ott outubro out pazdziernik pazdziernika paz rijen rijna
    nov november novembre noviembre novembro listopad listopada lis
    dec december dezember dez decembre diciembre dic dicembre dezembro grudzien grudnia gru prosinec prosince
"""
MONTHS = {name: number for number, names in enumerate(_MONTHS.strip().splitlines(), 1) for name in names.split()}
# Left out of the initials of an institution.
SMALL = frozenset(
    ("of", "the", "and", "for", "at", "de", "la", "le", "du", "des", "der", "die", "fur", "und", "im", "di", "del")
    + tuple("aeivwy")
)
