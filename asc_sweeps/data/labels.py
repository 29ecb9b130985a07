"""Labels of TAU Urban Acoustic Scenes 2022 Mobile: scenes in label order, cities, recording devices."""

SCENES = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
CITIES = (
    "barcelona",
    "helsinki",
    "lisbon",
    "london",
    "lyon",
    "milan",
    "paris",
    "prague",
    "stockholm",
    "vienna",
)
SEEN_DEVICES = ("a", "b", "c", "s1", "s2", "s3")
UNSEEN_DEVICES = ("s4", "s5", "s6")
DEVICES = SEEN_DEVICES + UNSEEN_DEVICES
PIECES = 10  # segments of one second in a recording of ten
