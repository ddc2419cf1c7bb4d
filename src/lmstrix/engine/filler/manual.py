"""A manual: headings, requirements and lists, about a plant that nobody has built."""

from collections.abc import Mapping, Sequence
from typing import Final

WORDS: Final[Mapping[str, Sequence[str]]] = {
    name: text.split()
    for name, text in {
        "part": """actuator alternator amplifier antenna bearing boiler bracket burner cabinet
            capacitor chassis circuit clamp compressor condenser conductor connector controller
            conveyor coupling cylinder damper detector display encoder enclosure exchanger fan
            filter flange fuse gasket gauge gearbox generator governor heater housing impeller
            injector insulator inverter keypad latch manifold motor nozzle oscillator panel piston
            pump radiator receiver regulator relay rotor sensor shaft socket solenoid spindle switch
            terminal thermostat transducer transformer transmitter tube turbine valve ventilator""",
        "task": """adjusted aligned bypassed calibrated checked cleaned connected cooled
            disconnected
            drained earthed energized fastened flushed grounded inspected insulated isolated
            labelled locked lubricated monitored mounted opened programmed purged reassembled
            recorded released removed replaced reset sealed secured started stopped tested
            tightened vented verified""",
        "quality": """accidental acceptable adequate admissible ambient auxiliary average axial
            constant continuous corrosive critical dry electrical excessive external hydraulic
            independent initial insufficient internal intermittent lateral magnetic manual maximum
            mechanical minimum nominal optional periodic permanent pneumatic primary radial
            redundant secondary specified static thermal uneven unstable visible""",
        "matter": """alignment calibration clearance combustion condensation consumption corrosion
            current damping drift efficiency expansion flow friction humidity insulation leakage
            lubrication maintenance noise operation polarity pressure radiation resistance
            sensitivity speed stability temperature tension torque transmission vibration voltage
            wear""",
        "role": """auditor contractor electrician engineer inspector installer manufacturer operator
            owner planner supervisor supplier technician""",
        "when": """afterwards annually automatically daily directly gradually immediately monthly
            periodically regularly repeatedly separately simultaneously slowly weekly""",
    }.items()
}
SHAPES: Final[Sequence[str]] = (
    "\n## Requirements for the {quality} {part}\n",
    "\n### {part} and {part}: {matter}\n",
    "The {quality} {part} shall be {task} before the {part} is {task}.",
    "Where {quality} {matter} occurs, the {part} shall be {task} {when} by the {role}.",
    "- **{part}**: {task} and {task}, without {quality} {matter}",
    "- {quality} {matter} of the {part}, see the section on {matter}",
    "- the {part} is {task} {when}",
    "The {role} should record the {matter} of each {part}; the {role} keeps the record.",
    "NOTE: A {part} that has been {task} {when} does not need {quality} {matter}.",
    "WARNING: Never let the {quality} {part} run while the {part} is being {task}!",
    "| {part} | {quality} {matter} | {task} {when} |",
    "The {matter} of the {part} depends on the {quality} {matter} that the {role} has found.",
    "If the {part} cannot be {task}, then the {part} and its {part} must be {task} {when}.",
    "    {part}.{matter} = {quality}",
)
