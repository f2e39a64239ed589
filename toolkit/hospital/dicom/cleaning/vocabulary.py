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
# Words of institutions, addresses and ids that name no place and no person; manufacturers too, whose names private creators hold.
GENERIC = UNTELLING | frozenset(
    """
    abdomen academic agfa anesthesiology anon anonymized anonymous arm associates avenue axial bereich brain breast c canon cardiac
    cardiology care carestream center centers central centre centrum cervix chest children childrens chirurgie city clinic clinica
    clinical clinico clinics clinique co college community company coronal county demo departement department dept dermatology
    diagnostic diagnostics dicom district division east eastern elbow electric elekta emergency esaote exam eye facility faculty female
    first flair foot foundation fuji fujifilm fundacja fur gabinet general gesellschaft gmbh group gynaecology gynecology hand head
    health healthcare healthineers heart hip hitachi hologic hopital hospital hospitalier hospitals house icu image imaging inc institut
    institute instituto intensive internal international kliniczny klinik klinika kliniken klinikum knee kodak konica krankenhaus kreis
    lab laboratory left leg liver llc localizer ltd lung magnetic male mammo medical medicine medison medizin medizinische medyczne
    medyczny memorial miasto miejski mindray ministry minolta name national neck neurology neuroradiology new nhs none north northern
    not nuclear null nzoz oddzial office oncology organisation organization ortho orthopedics ospedale osrodek outpatient paediatrics
    pathology patient pavilion pediatric pediatrics pelvis phantom philips platz poliklinik poradnia pracownia practice praxis private
    psychiatry public radiologia radiologie radiologii radiology region regional research resonance right road room sagittal saint
    sample samsung sanitaire scan scanner school science sciences scout section series service services shimadzu shoulder siemens site
    skull slice south southern sp specialist spect spine spital spitalul spzoz square state station strasse street study subject surgery
    systems szpital technology test tomography toshiba town trust tse ulica unit universitaire universitat universitats
    universitatsklinikum university uniwersytecki uniwersytet unknown urology varian veterinary volume ward west western wojewodzki
    women womens workstation wrist xray zaklad zentrum ziekenhuis zoz
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
    ("of", "the", "and", "for", "at", "de", "la", "le", "du", "des", "der", "die", "fur", "und", "im", "di", "del") + tuple("aeivwy")
)
