"""What the answers rest on, written down a second time so that a slip in the first is seen."""

# Dictionary knowledge of English.
OPPOSITE = {
    "hot": "cold",
    "cold": "hot",
    "big": "small",
    "small": "big",
    "early": "late",
    "late": "early",
    "wet": "dry",
    "dry": "wet",
}
PLURAL = {
    "baby": "babies",
    "box": "boxes",
    "child": "children",
    "city": "cities",
    "dog": "dogs",
    "foot": "feet",
    "knife": "knives",
    "leaf": "leaves",
    "mouse": "mice",
    "tooth": "teeth",
}
PAST = {
    "carry": "carried",
    "dance": "danced",
    "eat": "ate",
    "go": "went",
    "jump": "jumped",
    "see": "saw",
    "study": "studied",
    "take": "took",
    "walk": "walked",
    "write": "wrote",
}
KIND = {
    "apple": "fruit",
    "axe": "tool",
    "banana": "fruit",
    "blue": "colour",
    "cow": "animal",
    "drill": "tool",
    "duck": "animal",
    "grape": "fruit",
    "green": "colour",
    "hammer": "tool",
    "horse": "animal",
    "pear": "fruit",
    "rabbit": "animal",
    "red": "colour",
    "saw": "tool",
    "white": "colour",
}

# UN Statistics Division, M49: country, region, capital.
CAPITAL = {
    "Cuba": "Havana",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Norway": "Oslo",
    "Peru": "Lima",
    "Poland": "Warsaw",
    "Spain": "Madrid",
}
CONTINENT = {
    "Austria": "Europe",
    "Chad": "Africa",
    "China": "Asia",
    "France": "Europe",
    "Germany": "Europe",
    "Ghana": "Africa",
    "India": "Asia",
    "Mali": "Africa",
    "Morocco": "Africa",
    "Nepal": "Asia",
    "Sweden": "Europe",
    "Vietnam": "Asia",
}

# Zoology at school: fish, snakes and worms have none, birds two, mammals four, insects six,
# arachnids eight.
LEGS = {
    "ant": "6",
    "bee": "6",
    "beetle": "6",
    "cat": "4",
    "goat": "4",
    "hen": "2",
    "lion": "4",
    "owl": "2",
    "parrot": "2",
    "salmon": "0",
    "scorpion": "8",
    "snake": "0",
    "spider": "8",
    "worm": "0",
}

# Meteorological seasons of the northern hemisphere: whole months, winter from December.
SEASON = {
    "March": "spring",
    "April": "spring",
    "May": "spring",
    "June": "summer",
    "July": "summer",
    "August": "summer",
    "September": "autumn",
    "October": "autumn",
    "November": "autumn",
    "December": "winter",
    "January": "winter",
    "February": "winter",
}

# Greek and Latin number prefixes.
SIDES_BY_PREFIX = {
    "tri": "3",
    "squ": "4",
    "pen": "5",
    "hex": "6",
    "hep": "7",
    "oct": "8",
    "non": "9",
    "dec": "10",
}
