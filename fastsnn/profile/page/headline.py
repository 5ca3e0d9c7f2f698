"""What a reader sees first: each cost as a ratio to the dense network, under the conditions it holds for."""

from typing import Any

from fastsnn.profile.page.elements import Markup, card, table
from fastsnn.profile.page.numbers import NONE, amount, divided, milliseconds, percent, plural, size, three, times
from fastsnn.profile.schema import Document, Modelled, missing

EAGER, COMPILED = "dense, eager", "dense, compiled"


def available(value: Any) -> Any:
    return None if missing(value) else value


def conditions(document: Document) -> str:
    """The timed batch, threads, precision and T, in words."""
    network, given = document["network"], document["conditions"]
    precision = [network["precision"]] if network["precision"] else []
    words = [f"batch {given['batch']}", plural(given["threads"], "thread"), *precision, f"T = {network['timesteps']}"]
    return ", ".join([*words, network["device"]])


def spiking_run(document: Document) -> str | None:
    """The name of the first timed run that is not of a dense network."""
    time = available(document["time"])
    return next((run["name"] for run in time["runs"] if _is(run["name"], False)), None) if time else None


def median(document: Document, run: str | None) -> Any:
    """Milliseconds of a run: its median, NotMeasurable, or None without such a run."""
    if missing(document["time"]):
        return document["time"]
    timed: Any = document["time"]
    found = next((r["milliseconds"] for r in timed["runs"] if r["name"] == run), None)
    return found if found is None or missing(found) else found["p50"]


def peak(document: Document, run: str | None) -> Any:
    memory: Any = document["memory"]
    return memory if missing(memory) else memory["peak_bytes"].get(run)


def operations(document: Document) -> float:
    """Synaptic operations of one image, of every kind."""
    return sum(document["totals"]["operations"].values()) / document["conditions"]["images"]


def cards(document: Document) -> list[Markup]:
    return [
        _time(document),
        _memory(document),
        _accuracy(document),
        _work(document),
        _rate(document),
        _joules(document),
    ]


def _time(document: Document) -> Markup:
    label, mine = "Time, against the dense network (eager)", median(document, spiking_run(document))
    if mine is None or missing(mine):
        return card(label, mine, conditions(document))
    time: Any = document["time"]
    eager, compiled = median(document, EAGER), median(document, COMPILED)
    lines: list[Any] = []
    if divided(mine, eager):
        rounds = f"medians of {plural(time['rounds'], 'round')}"
        lines = [f"{milliseconds(mine)} spiking, {milliseconds(eager)} dense, {rounds}", _spread(document)]
    if compiled is not None:
        ratio = divided(mine, compiled)
        against = f"{times(ratio)}, {milliseconds(compiled)} dense" if ratio else compiled["not_measurable"]
        lines.append(f"against the dense network compiled: {'' if ratio else 'not measurable here: '}{against}")
    ratio = divided(mine, eager)
    value = (
        f"{times(ratio)} the time"
        if ratio
        else eager
        if eager is not None
        else f"{milliseconds(mine)}, no dense network"
    )
    return card(label, value, *lines, conditions(document))


def _spread(document: Document) -> str:
    """Between which times most rounds of the two runs lie."""
    time: Any = document["time"]
    found = {run["name"]: run["milliseconds"] for run in time["runs"]}
    both = [f"{three(found[n]['p20'])} to {three(found[n]['p80'])}" for n in (spiking_run(document), EAGER)]
    return f"20th to 80th percentile: {both[0]} ms spiking, {both[1]} ms dense"


def _memory(document: Document) -> Markup:
    mine, eager = peak(document, spiking_run(document) or "spiking"), peak(document, EAGER)
    ratio = divided(mine, eager)
    label = "Peak memory of a run, against the dense network (eager)"
    if ratio is None:
        value = mine if mine is None or missing(mine) else size(mine)
        return card(label, value, conditions(document))
    memory: Any = document["memory"]
    return card(
        label,
        f"{times(ratio)} the memory",
        f"{size(mine)} spiking, {size(eager)} dense",
        memory["how"],
        conditions(document),
    )


def _accuracy(document: Document) -> Markup:
    T, accuracy = document["network"]["timesteps"], available(document["accuracy"])
    if not accuracy or not accuracy["curves"]:
        return card(f"Accuracy at T = {T}", document["accuracy"] if accuracy is None else None)
    curve = accuracy["curves"][0]
    dense = "no dense network" if accuracy["dense"] is None else f"{percent(accuracy['dense'])} dense, the same images"
    error = f"{plural(accuracy['images'], 'image')}, standard error {percent(curve['standard_error'])}"
    knee = f"{curve['name']}; within one standard error of it from T = {curve['knee']} on"
    return card(f"Accuracy at T = {len(curve['accuracy'])}", percent(curve["accuracy"][-1]), dense, error, knee)


def _work(document: Document) -> Markup:
    totals, done = document["totals"], operations(document)
    left, ratio = sum(totals["macs"].values()), divided(done, totals["dense_macs"])
    return card(
        "Synaptic operations, against multiplications of the dense network",
        NONE if ratio is None else f"{times(ratio)} as many",
        f"{amount(done)} additions spiking, {amount(totals['dense_macs'])} multiplications dense, an image",
        f"and {amount(left)} multiplications that are left in the spiking network",
        f"T = {document['network']['timesteps']}, mean of {plural(document['conditions']['images'], 'image')}",
    )


def _rate(document: Document) -> Markup:
    totals, T = document["totals"], document["network"]["timesteps"]
    if not totals["neurons"]:
        return card("Firing rate", None, "no layer has neurons")
    images = document["conditions"]["images"]
    return card(
        "Firing rate, mean over all neurons and steps",
        percent(totals["rate"]),
        f"{amount(totals['spikes'] / images)} spikes an image from {amount(totals['neurons'])} neurons, T = {T}",
        f"{percent(totals['silent'] / totals['neurons'])} of the neurons never fired on {plural(images, 'image')}",
    )


def _joules(document: Document) -> Markup:
    measured, label = (
        available(document["energy"]["measured"]),
        "Measured energy of an image, against the dense network (eager)",
    )
    if not measured or not measured["runs"]:
        return card(label, document["energy"]["measured"] if measured is None else None, "models of it: see below")
    lines = [f"{amount(run['joules_an_image'], 'J')} ({run['name']})" for run in measured["runs"]]
    ratio = divided(joules(document, False), joules(document, True))
    value = f"{times(ratio)} the energy" if ratio else lines.pop(0)
    covers = f"{measured['how']}; covers {measured['covers']}; idle power subtracted"
    return card(label, value, ", ".join(lines) or None, covers, conditions(document))


def joules(document: Document, dense: bool) -> Any:
    """Measured joules of an image, of the spiking run or the dense eager one; None without such a run."""
    measured: Any = document["energy"]["measured"]
    if missing(measured):
        return measured
    found = [r["joules_an_image"] for r in measured["runs"] if _is(r["name"], dense)]
    return next(iter(found), None)


def _is(run: str, dense: bool) -> bool:
    return run == EAGER if dense else not run.startswith("dense")


MODELLED = ["model", "spiking", "dense", "quantised", "spiking / dense", "spiking / quantised", "source"]


def modelled(m: Modelled) -> list[str]:
    """The cells of one model."""
    return [
        m["model"],
        amount(m["spiking"], "J"),
        amount(m["dense"], "J"),
        f"{amount(m['quantised'], 'J')} ({m['bits']} bits)",
        times(divided(m["spiking"], m["dense"])),
        times(divided(m["spiking"], m["quantised"])),
        m["source"],
    ]


def models(document: Document) -> Markup | None:
    """The energy models: the spiking network always beside the dense one and the quantised one."""
    rows = [modelled(m) for m in document["energy"]["modelled"]]
    return table(MODELLED, rows, "Modelled energy of one image", words=(0, 6)) if rows else None


def costs(document: Document) -> list[tuple[str, str, list[list[str]]]]:
    """Of each model: its name, its assumptions, rows of what a part takes and what one operation costs."""
    found = []
    for m in document["energy"]["modelled"]:
        whole = m["spiking"] or 1.0
        rows = [[part, amount(joules, "J"), percent(joules / whole)] for part, joules in m["parts"].items()]
        prices = ", ".join(_price(name, value) for name, value in m["costs"].items())
        found.append((m["model"], f"{m['assumptions']} Costs: {prices}.", rows))
    return found


def _price(name: str, value: float) -> str:
    """A unit cost; its unit is the end of its name: mac_pj is in picojoules."""
    what, _, unit = name.rpartition("_")
    return f"{what} {value:g} {'pJ' if unit == 'pj' else unit}" if what else f"{name} {value:g}"
