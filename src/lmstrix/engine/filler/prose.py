"""Prose: what happened to whom, where and when. A few hundred words in a few sentence shapes."""

from collections.abc import Mapping, Sequence
from typing import Final

WORDS: Final[Mapping[str, Sequence[str]]] = {
    name: text.split()
    for name, text in {
        "who": """baker captain carpenter clerk cook doctor driver editor farmer fisherman gardener
            grandmother guide innkeeper judge librarian mason mayor mechanic merchant miller nurse
            painter pilot poet porter potter printer professor sailor sculptor shepherd singer smith
            surveyor tailor teacher translator waiter watchman weaver widow""",
        "did": """admired borrowed bought carried cleaned copied counted described discovered
            discussed examined explained finished forgot found guarded inherited kept lost mentioned
            mended moved noticed opened ordered packed painted polished praised prepared remembered
            repaired returned sketched sold sorted studied watched weighed wrapped""",
        "thing": """anchor atlas barrel basket bell bicycle blanket boat book bottle bridge brush
            cabinet calendar candle carpet chair clock coat compass curtain desk diary drum envelope
            fence fiddle hammer kettle kite ladder lantern letter map mirror newspaper notebook oven
            parcel piano pipe plough portrait quilt recipe rope saddle scarf shovel statue suitcase
            table telescope ticket umbrella vase violin wagon wheel""",
        "quality": """ancient blue bright broken careful cheap clever cold crooked curious damp
            dusty elegant empty faded familiar forgotten fragile gentle golden green heavy honest
            large late narrow noisy old ordinary pale patient plain polite quiet red rough round
            rusty silver simple slow small smooth solid strange tall tired warm wooden yellow""",
        "place": """attic avenue barn bay beach cafe canal castle cathedral cellar courtyard factory
            farm ferry field forest garden hall hill hospital inn island kitchen lake market meadow
            mill monastery mountain museum office orchard park pier quarry railway river school
            shop square stable station street theatre tower valley village vineyard warehouse
            workshop yard""",
        "time": """afternoon autumn dawn evening holiday morning night spring storm summer weekend
            winter""",
        "how": """again alone calmly carefully cheerfully eagerly early gladly gracefully hastily
            patiently politely proudly quickly quietly reluctantly secretly slowly together
            twice warmly""",
        "matter": """bread business coffee copper courage custom distance friendship fruit history
            honey language law luck medicine memory money music patience philosophy politics rain
            salt silence silk snow sugar timber time trade travel truth water weather wine wool""",
    }.items()
}
SHAPES: Final[Sequence[str]] = (
    "The {quality} {who} {did} a {thing} near the {place}.",
    "In the {time}, the {who} {did} the {quality} {thing} {how}.",
    "Nobody at the {place} knew why the {who} {did} that {thing}.",
    "Before the {time} was over, a {who} and a {who} {did} the {thing} from the {quality} {place}.",
    "It was said that {matter} mattered less to the {who} than {matter}.",
    "Beyond the {place} there stood a {quality} {thing}, which the {who} {did} {how}.",
    "When the {who} left the {place}, the {thing} was {quality} and the {thing} was gone.",
    "They talked about {matter}, about {matter}, and about the {who} of the {quality} {place}.",
    "Every {time} the {who} {did} the {thing}, and every {time} the {place} seemed more {quality}.",
    '"There is no {matter} in this {place}," the {who} said {how}.',
    "Without {matter}, the {quality} {thing} would have been of little use to a {who}.",
    "A {who} who {did} one {thing} {how} has rarely {did} another.",
    "Later the {who} wrote a {quality} letter concerning {matter} and the {thing} in the {place}.",
    "Because of the {time}, the road between the {place} and the {place} was {quality}.",
    "The {thing} belonged to the {who}; the {place}, to nobody.",
    "Some preferred {matter}, but most of them had come for the {thing}.",
)
