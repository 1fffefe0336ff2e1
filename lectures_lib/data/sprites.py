"""The hand-drawn parts of a scene's picture: rows of characters, one a pixel. Everything faces right.

`A` is the thing's own colour ("a brown horse") and `a` a darker shade of it; the other letters stand in `PALETTE`; a
dot is nothing. A person is put together from a head, arms, and legs, so that every verb can have its pose.
"""

from __future__ import annotations

from typing import NamedTuple

RGB = tuple[int, int, int]

PALETTE: dict[str, RGB] = {
    "K": (35, 35, 40),
    "W": (250, 250, 250),
    "G": (150, 150, 155),
    "g": (95, 95, 105),
    "R": (215, 45, 45),
    "B": (45, 85, 205),
    "U": (140, 205, 245),
    "Y": (245, 205, 50),
    "O": (245, 140, 40),
    "P": (245, 150, 185),
    "V": (140, 70, 170),
    "E": (60, 160, 70),
    "e": (35, 105, 50),
    "N": (135, 85, 45),
    "n": (85, 50, 30),
    "D": (225, 200, 150),
    "S": (240, 195, 155),
}
COLOURS: dict[str, RGB] = {
    "red": PALETTE["R"],
    "blue": PALETTE["B"],
    "green": PALETTE["E"],
    "yellow": PALETTE["Y"],
    "black": (45, 45, 50),
    "white": PALETTE["W"],
    "brown": (150, 95, 50),
    "grey": (150, 150, 155),
    "orange": PALETTE["O"],
    "purple": PALETTE["V"],
    "pink": PALETTE["P"],
}


class Drawn(NamedTuple):
    """A thing: its rows, its own colour when nobody names one, and how many of its rows are legs."""

    rows: str
    colour: str
    legs: int = 0


# ---- animals ----

_HORSE = """
...........KA.A
..........KAAAA
..........KAAKA
.........KAAAAA
K.AAAAAAAAAA...
KAAAAAAAAAA....
K.AAAAAAAAA....
..AAAAAAAAA....
..AA.....AA....
..A.A....A.A...
..A.A....A.A...
..K.K....K.K...
"""
_STRIPED = """
...........KW.W
..........KWKWW
..........KWKKW
.........KWKWWK
K.WKWKWKWKWK...
KWWKWKWKWKW....
K.WKWKWKWKW....
..WKWKWKWKW....
..KW.....KW....
..W.W....W.W...
..K.K....K.K...
..K.K....K.K...
"""

DRAWN: dict[str, Drawn] = {
    "horse": Drawn(_HORSE, "brown", 4),
    "zebra": Drawn(_STRIPED, "white", 4),
    "donkey": Drawn(
        """
..........A.A.
..........A.A.
..........AAA.
.........AAKAA
.........AAAWW
a.AAAAAAAAA...
.AAAAAAAAA....
..AAAAAAAA....
..A.A...A.A...
..A.A...A.A...
..K.K...K.K...
""",
        "grey",
        3,
    ),
    "camel": Drawn(
        """
............AAA
...AA..AA...AKA
..AAAAAAAA..AAA
.AAAAAAAAAA.AA.
.AAAAAAAAAA.AA.
aAAAAAAAAAAAAA.
a.AAAAAAAAAAA..
..AAAAAAAAA....
..A.A....A.A...
..A.A....A.A...
..A.A....A.A...
..a.a....a.a...
""",
        "brown",
        4,
    ),
    "elephant": Drawn(
        """
..........AAA..
..AAAAAAAaaAAA.
.AAAAAAAaaaAKA.
.AAAAAAAaaaAAAA
AAAAAAAAAaaAA.A
AAAAAAAAAAAAWWA
A.AAAAAAAAAA..A
..AAAAAAAAAA..A
..AAA...AAA..AA
..AAA...AAA....
..AAA...AAA....
..aaa...aaa....
""",
        "grey",
        4,
    ),
    "cow": Drawn(
        """
...........D.D
...........AAA
W.........AAKA
WWWWAAWWAAAAPP
W.WAAAWWWAAAPP
..WWAWWWAAW...
..WWWWWAAWW...
...PP...WWW...
..W.W...W.W...
..W.W...W.W...
..K.K...K.K...
""",
        "black",
        3,
    ),
    "sheep": Drawn(
        """
...AA.AA.....
..AAAAAAAKK..
.AAAAAAAKKWK.
AAAAAAAAKKKK.
AAAAAAAAAKK..
.AAAAAAAAA...
..AAAAAAA....
..K.K.K.K....
..K.K.K.K....
""",
        "white",
        2,
    ),
    "dog": Drawn(
        """
........a.A..
........aAAA.
A.......aAKA.
.A.....AAAAAK
.AAAAAAAAAA..
..AAAAAAAR...
..AAAAAAA....
..A.A.A.A....
..A.A.A.A....
""",
        "brown",
        2,
    ),
    "cat": Drawn(
        """
.......A..A
A......AAAA
A......AKAK
A......AAPA
.A.AAAAAAA.
..AAAAAAA..
..aAaAaAA..
..A.A.A.A..
..A.A.A.A..
""",
        "orange",
        2,
    ),
    "rabbit": Drawn(
        """
....A.A..
....P.A..
....A.A..
....AAAA.
....AAKA.
..AAAAAP.
WAAAAAA..
.AAAAAA..
.AA..AA..
""",
        "grey",
        1,
    ),
    "monkey": Drawn(
        """
.....AAAA..
....SASSAS.
.....SKSK..
a....SSSS..
a...AAAA...
.a.AAAAAA..
.a.AAADAAA.
..aAAADA.A.
...AAAA....
...A..A....
..AA..AA...
""",
        "brown",
        2,
    ),
    "bear": Drawn(
        """
.........AA.AA
.........AAAAA
..AAAAAAAAAKAA
.AAAAAAAAAADDK
AAAAAAAAAAADD.
AAAAAAAAAAAA..
AAAAAAAAAAA...
.AAAAAAAAAA...
.AAA...AAA....
.AAA...AAA....
.aaa...aaa....
""",
        "brown",
        3,
    ),
    "tiger": Drawn(
        """
..........A..A
A.........AAAA
K.........AKAK
A........KAAWW
KAAKAAKAAKAWW.
.AAKAAKAAKAA..
.AAKAAKAAKA...
..WWAAKAWWA...
..A.A...A.A...
..K.K...K.K...
..A.A...A.A...
""",
        "orange",
        3,
    ),
    "bird": Drawn(
        """
.....AA..
....AAKA.
.....AAAO
A..aaAAA.
AAaaaAAA.
.AAaaAA..
...AAA...
....O.O..
""",
        "blue",
        1,
    ),
    "bird flying": Drawn(
        """
..aa.......
..aaa......
...aaa..AA.
A..aaaaAAKA
AAAAAAAAAAO
..AAAAAAA..
""",
        "blue",
    ),
    "duck": Drawn(
        """
......AAA.
......AKA.
......AAOO
a......AA.
aAAAAAAAA.
.AaaaaAAA.
.AAaaAAAA.
..AAAAAA..
....O.O...
""",
        "white",
        1,
    ),
    "duck flying": Drawn(
        """
...aa.......
..aaaa......
...aaaa.AAA.
a..aaaaAAKA.
aAAAAAAAAAOO
..AAAAAAA...
""",
        "white",
    ),
    "fish": Drawn(
        """
....aa....
A..AAAAA..
AAAAAAAKA.
.AAaAAAAAA
AAAAAAAAA.
A..AAAAA..
....aa....
""",
        "orange",
    ),
    "butterfly": Drawn(
        """
.AA.K.K.AA.
AAAA.K.AAAA
AYAAAKAAAYA
.AAAAKAAAA.
..aaaKaaa..
.aYaaKaaYa.
.aaa.K.aaa.
""",
        "purple",
    ),
    # ---- vehicles ----
    "bicycle": Drawn(
        """
....aaa...KK..
.....A.....A..
.....AAAAAAA..
..KKKA...AKAK.
.K..KKA.AK..AK
.K.K.KAAK.KK.K
.K...K..K....K
..KKK....KKKK.
""",
        "red",
    ),
    "motorcycle": Drawn(
        """
...........KK..
.nnnn.AAA.G.K..
.nnnnnAAAAG.YY.
.AAAAAAAAAAAA..
.KKKAGGGGA.KKK.
KKGKKGggG.KKGKK
KGGGKKKKK.KGGGK
.KKK.......KKK.
""",
        "red",
    ),
    "car": Drawn(
        """
....AAAAAA.....
...AUUUAUUA....
..AAUUUAUUUA...
.AAAAAAAAAAAAAA
YAAAAAAaAAAAAAY
AAKKKAAAAAKKKAA
aKKGKKaaaKKGKKa
..KKK.....KKK..
""",
        "red",
    ),
    "bus": Drawn(
        """
AAAAAAAAAAAAAAA
AUUAUUAUUAUUUUA
AUUAUUAUUAUUUUA
AUUAUUAUUAUUUUA
AAAAAAAAAAAAAAA
AAAAAAAAAAAAAAA
aaaaaaaaaaaaaaY
AAKKKAAAAAKKKAA
.KKGKK...KKGKK.
..KKK.....KKK..
""",
        "yellow",
    ),
    "truck": Drawn(
        """
DDDDDDDDD......
DDDDDDDDD.AAA..
DDDDDDDDD.AUUA.
DDDDDDDDD.AUUA.
DDDDDDDDDAAAAAA
ggggggggggAAAAY
.KKKgKKK.gAKKKa
KKGKKKGKK.KKGKK
.KKK.KKK...KKK.
""",
        "red",
    ),
    "boat": Drawn(
        """
A.............A
AAAAAAAAAAAAAAA
aAAAAAAAAAAAAAa
.aAAAAAAAAAAAa.
..aaaaaaaaaaa..
""",
        "red",
    ),
    "sled": Drawn(
        """
.............a.
AAAAAAAAAAAAAa.
AAAAAAAAAAAA.a.
..g....g....a..
gggggggggggg...
""",
        "red",
    ),
    # ---- things ----
    "book": Drawn(
        """
AAA.AAA
AWWAWWA
AWgAgWA
AWWAWWA
AWgAgWA
.AAAAA.
""",
        "blue",
    ),
    "newspaper": Drawn(
        """
AAAAAAA
AKKKKKA
AAAAAAA
AggAKKA
AAAAKKA
AggAggA
AAAAAAA
""",
        "white",
    ),
    "letter": Drawn(
        """
aaaaaaa
aRAAARa
aAaAaAa
aAAaAAa
aaaaaaa
""",
        "white",
    ),
    "map": Drawn(
        """
AAAaAAAaA
AEEaAABaA
AEAaRABaA
AAAaARBaA
ABBaBBBaA
AAAaAAAaA
""",
        "yellow",
    ),
    "box": Drawn(
        """
AAAADAAAA
AAAADAAAA
aaaaDaaaa
AAAADAAAA
AAAAAAAAA
AAAAAAAAA
aaaaaaaaa
""",
        "brown",
    ),
    "chair": Drawn(
        """
A......
A......
A......
A......
AAAAAA.
aaaaaa.
A....A.
A....A.
""",
        "brown",
    ),
    "table": Drawn(
        """
AAAAAAAAAAA
aaaaaaaaaaa
.A.......A.
.A.......A.
.A.......A.
.A.......A.
""",
        "brown",
    ),
    "umbrella": Drawn(
        """
....A....
..AaAaA..
.AAaAaAA.
AAaAAAaAA
A..A.A..A
....n....
....n....
....n....
..n.n....
..nnn....
""",
        "red",
    ),
    "ball": Drawn(
        """
.AAA.
AWAAA
AAAAA
AAAAa
.Aaa.
""",
        "red",
    ),
    "apple": Drawn(
        """
...E.
..n..
AAnAA
AWAAA
AAAAa
.AAa.
""",
        "red",
    ),
    "banana": Drawn(
        """
.....n
....AA
...AAA
..AAA.
AAAA..
.AA...
""",
        "yellow",
    ),
    "carrot": Drawn(
        """
E.E.E.
.EEE..
.AAA..
.AaA..
.AAA..
..Aa..
..A...
""",
        "orange",
    ),
    "cake": Drawn(
        """
...Y.Y...
...R.R...
.AAAAAAA.
AAAAAAAAA
AWAWAWAWA
DDDDDDDDD
AAAAAAAAA
DDDDDDDDD
""",
        "pink",
    ),
    "flower": Drawn(
        """
.AA.AA.
.AAAAA.
..AYA..
.AAAAA.
.AAEAA.
...E...
.E.E.E.
..EEE..
...E...
""",
        "red",
    ),
    "tree": Drawn(
        """
....AAA....
..AAAAAAA..
.AAAAaAAAA.
AAaAAAAAAAA
AAAAAAaAAAA
AAAaAAAAAaA
.AAAAAAAAA.
..AAAnAAA..
....nnn....
....nnn....
....nnn....
....nnn....
...nnnnn...
""",
        "green",
    ),
    "cup": Drawn(
        """
.W.W....
W.W.....
AAAAA...
AAAAAAA.
AAAAA.A.
AAAAAA..
.aaa....
""",
        "white",
    ),
    "hat": Drawn(
        """
..AAAAA..
..AAAAA..
..AAAAA..
..aaaaa..
AAAAAAAAA
""",
        "brown",
    ),
}

# ---- people: a head 9 wide and 5 high, whatever is on it above ----


class Person(NamedTuple):
    """A head with its hat or hair (the last row is the neck), the colours of clothes and legs, and whether a child."""

    head: str
    clothes: RGB
    legs: RGB
    dress: bool = False
    child: bool = False


_SKIN = PALETTE["S"]
PEOPLE: dict[str, Person] = {
    "man": Person(
        """
...nnn...
..nnnnn..
..nSKSK..
..SSSSS..
...SSS...
""",
        (45, 95, 190),
        (60, 60, 80),
    ),
    "woman": Person(
        """
...NNN...
..NNNNN..
.NNSKSK..
.NNSSSS..
.NN.SS...
""",
        (205, 50, 70),
        _SKIN,
        dress=True,
    ),
    "boy": Person(
        """
...KKKK..
..KKKKK..
..KSKSK..
..SSSSS..
...SSS...
""",
        (240, 150, 40),
        (50, 90, 150),
        child=True,
    ),
    "girl": Person(
        """
...OOO...
R.OOOOO.R
OOOSKSKOO
O.SSSSS.O
...SSS...
""",
        (240, 120, 175),
        _SKIN,
        dress=True,
        child=True,
    ),
    "farmer": Person(
        """
...YYY...
..YYYYY..
YYYYYYYYY
..SSKSK..
..NNSNN..
...NNN...
""",
        (70, 120, 60),
        (60, 85, 140),
    ),
    "doctor": Person(
        """
..WWWWW..
..WWRWW..
..nSKSK..
..SSSSS..
...UUU...
""",
        (245, 245, 250),
        (235, 235, 240),
    ),
    "teacher": Person(
        """
...GGG...
..GGGGG..
..GSSSS..
..KKUKU..
...SSS...
""",
        (120, 70, 150),
        (80, 60, 60),
    ),
    "cook": Person(
        """
..WWWWW..
.WWWWWWW.
..WWWWW..
..WWWWW..
..SSKSK..
..SnnnS..
...SSS...
""",
        (245, 245, 250),
        (90, 90, 100),
    ),
    "policeman": Person(
        """
...BBB...
..BBYBB..
..KKKKKK.
..SSKSK..
..SSSSS..
...SSS...
""",
        (30, 45, 120),
        (25, 35, 90),
    ),
    "king": Person(
        """
..Y.Y.Y..
..YRYBY..
..YYYYY..
..NSKSK..
..NNNNN..
...NNN...
""",
        (150, 30, 60),
        (100, 25, 90),
        dress=True,
    ),
}

# A torso 4 high under the neck; in the arms' rows the first three stand beside the head. `A` the sleeve, `S` the hand.
TORSO = """
..AAAAA..
..AAAAA..
..AAAAA..
...AAA...
"""
ARMS = {
    "down": """
...........
...........
...........
.A.....A...
.A.....A...
.S.....S...
""",
    "forward": """
...........
...........
...........
.A.....A...
.A......AAS
.S.........
""",
    "hold": """
...........
...........
...........
.A.....A...
.A.....A...
..AAAAAAS..
""",
    "up": """
S.......S..
A.......A..
.A.....A...
.A.....A...
...........
...........
""",
    "reach": """
.........S.
.........A.
........A..
.A.....A...
.A.........
.S.........
""",
    "back": """
...........
...........
...........
...........
AA.....A...
S......S...
""",
    "face": """
...........
...........
.......S...
.A.....A...
.A.....A...
.S.........
""",
}
LEGS = {
    "stand": """
..LLLLL..
..LL.LL..
..LL.LL..
..KK.KKK.
""",
    "walk": """
..LLLLL..
..LL.LL..
.LL...LL.
.KK...KKK
""",
    "run": """
..LLLLL..
.LLL.LLL.
KL.....LL
K......KK
""",
    "kick": """
..LLLLL.K
..LLLLLLK
..LL.....
..KKK....
""",
    "sit": """
..LLLLLKK
..LLLLLLK
""",
    "ride": """
..LLLLL..
....LLL..
.....LL..
.....KKK.
""",
}
DRESS = "..AAAAA.."  # the first row of the legs of whoever wears one

# ---- what tells the verbs apart ----

MARKS = {
    "zz": """
WWW..
..W..
.W.WW
WWW.W
...WW
""",
    "speed": """
WWW
...
WWW
...
WWW
""",
    "notes": """
...KKK
...K.K
KKKK.K
K.KKKK
K.K...
KK....
""",
    "tear": """
U...U
U...U
U...U
""",
    "laugh": """
Y.Y.Y
.....
YRRRY
.RRR.
""",
    "play": """
..Y..
.YYY.
YYYYY
.YYY.
.Y.Y.
""",
    "eye": """
.KKKKK.
KWWBWWK
.KKKKK.
""",
    "coin": """
.YYY.
YYOYY
YYOYY
YYOYY
.YYY.
""",
    "tag": """
.WWWW
WWKWW
WRRRW
WRRRW
WWWWW
""",
    "heart": """
RR.RR
RRRRR
.RRR.
..R..
""",
    "shine": """
Y.Y.Y
.YYY.
Y.Y.Y
""",
    "bubbles": """
.WW...U.
WUUW.UWU
WUUW..U.
.WW.WW..
""",
    "drop": """
.B.
.B.
BUB
BBB
.B.
""",
    "smile": """
.Y.
YYY
.Y.
""",
}
TOOLS = {
    "rod": """
....nnn..
..nn...W.
nn.....W.
n......W.
.......W.
.......W.
.......R.
""",
    "hammer": """
gggg
gggg
.n..
.n..
.n..
""",
    "pencil": """
..Y
.Y.
K..
""",
    "hay": """
Y.Y.
YYYY
.YY.
""",
    "net": """
..ggg
.gWgW
.gWWg
.ngg.
n....
""",
    "knife": """
n..
nG.
.GG
.GW
..W
""",
    "shovel": """
.n..
.n..
.n..
.n..
ggg.
ggg.
.g..
""",
    "can": """
..GGG..G
.G...GG.
GGGGGG..
GGGGG..U
GGGGG.U.
.....U.U
""",
    "wrench": """
g.g.
ggg.
.g..
.gg.
..g.
""",
    "cloth": """
WUWU
UWUW
WUWU
""",
    "oar": """
n........
.n.......
..n......
...n.....
....n....
.....nn..
......NN.
......NN.
""",
    "stick": """
nn
n.
n.
n.
n.
""",
}
EASEL = """
nnnnnnnnnnn
nWWWWWWWWWn
nWWWWWWWWWn
nWWWWWWWWWn
nWWWWWWWWWn
nWWWWWWWWWn
nWWWWWWWWWn
nWWWWWWWWWn
nnnnnnnnnnn
..n.....n..
.n.......n.
n.........n
"""

# ---- scenery: stands on the horizon, or hangs on a wall ----

SCENERY = {
    "sun": """
.YYYY.
YYYYYY
YYYYYY
YYYYYY
YYYYYY
.YYYY.
""",
    "moon": """
.WWW..
..WWW.
...WWW
...WWW
..WWW.
.WWW..
""",
    "fir": """
...e...
..eee..
..eee..
.eeeee.
.eeeee.
eeeeeee
...n...
...n...
""",
    "bush": """
..EEE..
.EEEEE.
EEeEEeE
EEEEEEE
""",
    "house": """
....R....
...RRR...
..RRRRR..
.RRRRRRR.
.DDDDDDD.
.DUDDDUD.
.DDDnDDD.
.DDDnDDD.
""",
    "hut": """
..nnn..
.nnnnn.
nnnnnnn
.DDDDD.
.DDnDU.
.DDnDD.
""",
    "tower": """
ggggggg
gYgYgYg
ggggggg
gYgUgYg
ggggggg
gUgYgYg
ggggggg
gYgYgUg
ggggggg
gYgYgYg
ggggggg
ggggggg
""",
    "barn": """
...RRRRR...
.RRRRRRRRR.
RRRRRRRRRRR
RRWWWWWWWRR
RRWRRRRRWRR
RRWRRWRRWRR
RRWRRRRRWRR
""",
    "fountain": """
U...W...U
.U.UWU.U.
..U.W.U..
....G....
GGGGGGGGG
.GUUUUUG.
""",
    "bench": """
nnnnnnn
.......
nnnnnnn
n.....n
""",
    "lamp": """
YYY
YYY
.g.
.g.
.g.
.g.
.g.
""",
    "blossoms": """
R...Y...P..
.E.E...E...
E.P.E.R..Y.
..E..E..E..
""",
    "peak": """
.......W.......
......WWW......
.....WWWGG.....
....GWGGGGG....
...GGGGGGGgg...
..GGGGGGGgggg..
.GGGGGGGGggggg.
GGGGGGGGgggggggg
""",
    "cactus": """
...EE...
...EE...
E..EE..E
E..EE..E
EEEEE.EE
...EEEE.
...EE...
...EE...
""",
    "snowman": """
.WWW.
.WKWO
.WWW.
WWWWW
WWWWW
WWWWW
.WWW.
""",
    "reeds": """
n.n..n
n.nn.n
E.En.E
EEE.EE
.E.EE.
""",
    "palm": """
EEE.EEE.
E.EEE.EE
.EEnEE..
.E.nn.E.
....n...
....n...
...nn...
...n....
""",
    "arch": """
NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN
n...n...n...n...n...n...n...n...
NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN
""",
    "stove": """
gggggggg
gKKgKKgg
GGGGGGGG
GKKKKKKG
GKOOOOKG
GKKKKKKG
GGGGGGGG
""",
    "picture": """
NNNNNNN
NUUUUUN
NUYUUEN
NEEEEEN
NNNNNNN
""",
    "blackboard": """
nnnnnnnnnnnnnnnn
neeeeeeeeeeeeeen
neWeWWeWeeWWWeen
neeeeeeeeeeeeeen
neWWWeWWeeWeWeen
neeeeeeeeeeeeeen
nnnnnnnnnnnnnnnn
""",
    "shelf": """
nnnnnnnnnnnnnnnn
nRRBEYVROBBEYRGn
nRRBEYVROBBEYRGn
nnnnnnnnnnnnnnnn
nEYRBBGOVYYRBEEn
nEYRBBGOVYYRBEEn
nnnnnnnnnnnnnnnn
nBVVREYYGBORREYn
nBVVREYYGBORREYn
nnnnnnnnnnnnnnnn
""",
    "counter": """
RRWWRRWWRRWWRRWW
RRWWRRWWRRWWRRWW
.n............n.
.nOO.EE.RR.YY.n.
.nOO.EE.RR.YY.n.
.nnnnnnnnnnnnnn.
""",
    "clock": """
.ggggg.
gWWKWWg
gWWKWWg
gWWKKWg
gWWWWWg
.ggggg.
""",
    "rails": """
GGGGGGGGGGGGGGGG
GUUGUUGUUGUUGUUG
GUUGUUGUUGUUGUUG
BBBBBBBBBBBBBBBB
.KK..KK..KK..KK.
""",
    "sail": """
...W....
...WW...
...WWW..
...WWWW.
...n....
nnnnnnnn
.nnnnnn.
""",
}
