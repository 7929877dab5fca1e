"""The cast: which things a street has, and how each takes its place."""

from collections.abc import Callable, Sequence

import numpy as np

from oiv5_d2.synthetic.scenery import fronts, people, profiles, signals, vehicles
from oiv5_d2.synthetic.scenery.backdrop import Light, paint_lamp_post, paint_tree
from oiv5_d2.synthetic.scenery.camera import Camera
from oiv5_d2.synthetic.scenery.canvas import NOBODY, Canvas, Colour, Pen, ellipse, tint
from oiv5_d2.synthetic.scenery.stage import Actor, Scenery
from oiv5_d2.synthetic.scenery.street import Street

CROWD = "Crowd"  # a group of people under one box
BILLBOARD = "Billboard"  # a painted person
SOME_PERSON, SOME_CAR, SOME_SIGN = "some person", "some car", "some sign"
FAR_PERSON, FAR_CAR, LAMP_POST = "far person", "far car", "lamp post"

PERSON_KINDS = {"Man": 0.36, "Woman": 0.32, "Person": 0.2, "Boy": 0.06, "Girl": 0.06}
CAR_KINDS = {"Car": 0.84, "Van": 0.14, "Limousine": 0.02}
SIGN_KINDS = {"Traffic sign": 0.72, "Stop sign": 0.28}


def cast_actors(
    rng: np.random.Generator, camera: Camera, light: Light, street: Street, wanted: Sequence[str]
) -> list[Actor]:
    """Choose what is on the street, place it, and return it from far to near.

    Args:
        rng: makes every choice.
        camera: where the street is seen from.
        light: how dark shadows are.
        street: what kind of street it is.
        wanted: names from `PLACERS` that come first, while there is room.
    """
    scenery = Scenery(rng, camera, light, street)
    for name in (*wanted, *_choose_cast(rng)):
        PLACERS[name](scenery, name)
    return sorted(scenery.actors, key=lambda actor: -actor.depth)


def _choose_cast(rng: np.random.Generator) -> list[str]:
    def some(name: str, chances: Sequence[float]) -> list[str]:
        return [name] * int(rng.choice(len(chances), p=chances))

    cast = [
        *some(BILLBOARD, (0.94, 0.06)),
        *some("Bus", (0.92, 0.08)),
        *some("Truck", (0.93, 0.07)),
        *some(SOME_CAR, (0.05, 0.3, 0.42, 0.23)),
        *some("Traffic light", (0.14, 0.44, 0.32, 0.1)),
        *some(SOME_SIGN, (0.12, 0.48, 0.32, 0.08)),
        *some(SOME_PERSON, (0.04, 0.3, 0.4, 0.2, 0.06)),
        *some("Taxi", (0.95, 0.05)),
        *some("Motorcycle", (0.93, 0.07)),
        *some("Bicycle", (0.93, 0.07)),
        *some(CROWD, (0.9, 0.1)),
        *some(FAR_PERSON, (0.5, 0.25, 0.15, 0.1)),
        *some(FAR_CAR, (0.5, 0.3, 0.2)),
        *some("Tree", (0.5, 0.3, 0.2)),
        *some(LAMP_POST, (0.6, 0.4)),
    ]
    return cast


def _one_of(rng: np.random.Generator, kinds: dict[str, float]) -> str:
    return str(rng.choice(list(kinds), p=list(kinds.values())))


def _place_some(
    kinds: dict[str, float], place: Callable[[Scenery, str], None]
) -> Callable[[Scenery, str], None]:
    return lambda scenery, name: place(scenery, _one_of(scenery.rng, kinds))


def _cast_shadow(pen: Pen, half_width: float, depth: float, darkness: float) -> None:
    pen.shadow(ellipse(0.06 * half_width, 0.0, half_width, depth), darkness, 0.05)


def _stand_person(scenery: Scenery, name: str, share: float, room: float) -> None:
    low, high = people.BUILDS[name].metres
    tall = scenery.between(low, high)
    height = scenery.camera.height * share
    depth = tall * scenery.camera.focal / height
    foot = scenery.camera.ground(depth)
    x = scenery.find_x(depth, height * 0.34, (foot - height, foot), room)
    if x is None:
        return
    mirror = float(scenery.rng.choice([-1.0, 1.0]))
    darkness = scenery.light.shadow

    def paint(canvas: Canvas, owner: int, rng: np.random.Generator) -> None:
        pen = Pen(canvas, x, foot, height, owner, mirror)
        _cast_shadow(pen, 0.17, 0.028, darkness)
        people.paint_person(pen, rng, name)

    scenery.actors.append(Actor(name, depth, paint))


def _place_person(scenery: Scenery, name: str) -> None:
    share = 0.30 + 0.45 * float(scenery.rng.beta(1.3, 1.6))
    if name in ("Boy", "Girl"):
        share *= 0.75
    _stand_person(scenery, name, max(0.26, share), 0.4)


def _place_far_person(scenery: Scenery, name: str) -> None:
    _stand_person(scenery, _one_of(scenery.rng, PERSON_KINDS), scenery.between(0.05, 0.1), 0.5)


def _drive(scenery: Scenery, name: str, share: float, is_profile: bool, room: float) -> None:
    length, wide, tall = vehicles.SIZES[name]
    across = length if is_profile else wide
    width = share * scenery.camera.width
    depth = across * scenery.camera.focal / width
    scale = scenery.camera.scale(depth)
    foot = scenery.camera.ground(depth)
    x = scenery.find_x(depth, width, (foot - tall * scale, foot), room, spill=0.15)
    if x is None:
        return
    mirror = float(scenery.rng.choice([-1.0, 1.0])) if is_profile else 1.0
    painter = profiles.paint_profile if is_profile else fronts.paint_end
    darkness = scenery.light.shadow

    def paint(canvas: Canvas, owner: int, rng: np.random.Generator) -> None:
        pen = Pen(canvas, x, foot, scale, owner, mirror)
        _cast_shadow(pen, across * 0.52, 0.18, min(0.7, darkness + 0.25))
        painter(pen, rng, name)

    scenery.actors.append(Actor(name, depth, paint))


def _place_car(scenery: Scenery, name: str) -> None:
    is_profile = scenery.shows_profile(0.9)
    if name == "Limousine" or is_profile:
        _drive(scenery, name, scenery.between(0.28, 0.58), True, 0.4)
    else:
        _drive(scenery, name, scenery.between(0.19, 0.40), False, 0.4)


def _place_bus(scenery: Scenery, name: str) -> None:
    if scenery.shows_profile(0.6):
        _drive(scenery, name, scenery.between(0.55, 0.8), True, 0.6)
    else:
        _drive(scenery, name, scenery.between(0.18, 0.34), False, 0.6)


def _place_two_wheeler(scenery: Scenery, name: str) -> None:
    _drive(scenery, name, scenery.between(0.17, 0.36), True, 0.5)


def _place_far_car(scenery: Scenery, name: str) -> None:
    _drive(scenery, _one_of(scenery.rng, CAR_KINDS), scenery.between(0.03, 0.06), False, 0.5)


def _place_light(scenery: Scenery, name: str) -> None:
    height = scenery.camera.height * (0.18 + 0.24 * float(scenery.rng.beta(1.2, 1.6)))
    top = scenery.camera.height * scenery.between(-0.02, 0.2)
    centre, depth = top + height / 2, 1.0 * scenery.camera.focal / height
    x = scenery.find_x(depth, height * signals.ASPECT, (top, top + height), 0.12, 0.15)
    if x is None:
        return
    drop = (scenery.camera.ground(depth) - centre) / height

    def paint(canvas: Canvas, owner: int, rng: np.random.Generator) -> None:
        pen = Pen(canvas, x, centre, height, owner)
        signals.paint_light_support(pen, rng, drop, centre / height)
        signals.paint_traffic_light(pen, rng, name)

    scenery.actors.append(Actor(name, depth, paint))


def _place_sign(scenery: Scenery, name: str) -> None:
    height = scenery.camera.height * (0.14 + 0.22 * float(scenery.rng.beta(1.2, 1.6)))
    top = scenery.camera.height * scenery.between(0.02, 0.38)
    centre, depth = top + height / 2, 0.8 * scenery.camera.focal / height
    x = scenery.find_x(depth, height, (top, top + height), 0.12, 0.15)
    if x is None:
        return
    drop = (scenery.camera.ground(depth) - centre) / height

    def paint(canvas: Canvas, owner: int, rng: np.random.Generator) -> None:
        pen = Pen(canvas, x, centre, height, owner)
        signals.paint_sign_pole(pen, rng, drop)
        signals.paint_sign(pen, rng, name)

    scenery.actors.append(Actor(name, depth, paint))


def _place_crowd(scenery: Scenery, name: str) -> None:
    share = scenery.between(0.1, 0.14)
    depth = min(
        1.7 * scenery.camera.focal / (scenery.camera.height * share), scenery.street.end - 1.0
    )
    height = 1.7 * scenery.camera.scale(depth)
    foot = scenery.camera.ground(depth)
    num_people = int(scenery.rng.integers(6, 11))
    width = height * 0.3 * num_people
    x = scenery.find_x(depth, width, (foot - height, foot), 0.3)
    if x is None:
        return
    kinds = [_one_of(scenery.rng, PERSON_KINDS) for _ in range(num_people)]

    def paint(canvas: Canvas, owner: int, rng: np.random.Generator) -> None:
        for number, kind in enumerate(kinds):
            at = x + width * ((number + 0.5) / num_people - 0.5)
            size = height * float(rng.uniform(0.88, 1.05))
            people.paint_person(Pen(canvas, at, foot, size, owner), rng, kind)

    scenery.actors.append(Actor("Person", depth, paint, is_group=True))


def _place_billboard(scenery: Scenery, name: str) -> None:
    height = scenery.camera.height * scenery.between(0.2, 0.3)
    top = scenery.camera.height * scenery.between(0.04, 0.16)
    width, foot, depth = height * 1.3, top + height, 9.0
    x = scenery.find_x(depth, width, (top, foot), 0.3, 0.0)
    if x is None:
        return
    drop = (scenery.camera.ground(depth) - foot) / height
    kind = _one_of(scenery.rng, PERSON_KINDS)
    posters: tuple[Colour, ...] = (
        (240, 224, 120),
        (150, 200, 220),
        (236, 170, 170),
        (180, 220, 170),
    )

    def paint(canvas: Canvas, owner: int, rng: np.random.Generator) -> None:
        pen = Pen(canvas, x, foot, height, NOBODY)
        colour = posters[rng.integers(len(posters))]
        for post in (-0.4, 0.4):
            pen.box(post - 0.03, -max(0.1, drop), post + 0.03, 0.1, (70, 72, 74))
        pen.box(-0.65, 0.0, 0.65, 1.0, (60, 62, 66))
        pen.box(-0.61, 0.04, 0.61, 0.96, colour)
        people.paint_person(pen.moved(-0.3, 0.06, 0.88).on_behalf_of(owner), rng, kind)
        for line, y in enumerate((0.72, 0.54, 0.36)):
            pen.box(0.05, y, 0.52 - 0.1 * line, y + 0.1, tint(colour, 0.45))

    scenery.actors.append(Actor(kind, depth, paint, is_depiction=True))


def _place_tree(scenery: Scenery, name: str) -> None:
    x, foot, depth = scenery.on_verge()
    scale = scenery.camera.scale(depth)

    def paint(canvas: Canvas, owner: int, rng: np.random.Generator) -> None:
        paint_tree(Pen(canvas, x, foot, scale, owner), rng, name)

    scenery.actors.append(Actor(name, depth, paint))


def _place_lamp_post(scenery: Scenery, name: str) -> None:
    x, foot, depth = scenery.on_verge()
    scale = scenery.camera.scale(depth)

    def paint(canvas: Canvas, owner: int, rng: np.random.Generator) -> None:
        paint_lamp_post(Pen(canvas, x, foot, scale, NOBODY), rng, name)

    scenery.actors.append(Actor("", depth, paint))


PLACERS: dict[str, Callable[[Scenery, str], None]] = {
    SOME_PERSON: _place_some(PERSON_KINDS, _place_person),
    SOME_CAR: _place_some(CAR_KINDS, _place_car),
    SOME_SIGN: _place_some(SIGN_KINDS, _place_sign),
    FAR_PERSON: _place_far_person,
    FAR_CAR: _place_far_car,
    CROWD: _place_crowd,
    BILLBOARD: _place_billboard,
    LAMP_POST: _place_lamp_post,
    "Tree": _place_tree,
    "Traffic light": _place_light,
    "Bus": _place_bus,
    "Truck": _place_bus,
    "Taxi": _place_car,
    "Motorcycle": _place_two_wheeler,
    "Bicycle": _place_two_wheeler,
    **dict.fromkeys(PERSON_KINDS, _place_person),
    **dict.fromkeys(CAR_KINDS, _place_car),
    **dict.fromkeys(SIGN_KINDS, _place_sign),
}
