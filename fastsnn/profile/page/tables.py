"""The tables of a page: the timed runs, every layer, the machine."""

from typing import Any

from fastsnn.profile.page.elements import Markup, pairs, table
from fastsnn.profile.page.headline import COMPILED, EAGER, available, median, peak
from fastsnn.profile.page.numbers import NONE, TIMES, amount, divided, milliseconds, percent, plural, size, three, times
from fastsnn.profile.schema import Document, Layer, additions, missing, moved

LAYER_HEADS = [
    "layer",
    "firing rate",
    "synaptic operations an image",
    "multiplications left",
    "multiplications dense",
    "operations / dense",
    "spiking ms",
    "dense ms",
    "spiking / dense",
    "correlation",
    "error",
    "bound by",
    "of its ceiling",
    "neurons",
    "silent",
    "always firing",
    "neuron updates",
    "bytes moved a pass",
    "in a float simulation",
    "dense with borders",
    "shape",
    "what it does",
]


def runs(document: Document) -> Markup | None:
    """The runs that took turns: time and its ratios, images a second, memory."""
    time = available(document["time"])
    if not time:
        return None
    eager, compiled = (median(document, name) for name in (EAGER, COMPILED))
    rows = []
    for run in time["runs"]:
        ms, held = run["milliseconds"], peak(document, run["name"])
        p50 = None if missing(ms) else ms["p50"]
        rows.append(
            [
                run["name"],
                ms if missing(ms) else milliseconds(p50),
                times(divided(p50, eager)),
                times(divided(p50, compiled)),
                NONE if run["images_a_second"] is None else three(run["images_a_second"]),
                held if held is None or missing(held) else size(held),
                NONE if missing(ms) else f"{three(ms['p20'])} to {three(ms['p80'])} ms",
            ]
        )
    heads = ["run", "median", "/ eager", "/ compiled", "images a second", "peak memory", "20th to 80th percentile"]
    return table(heads, rows, "Time and memory of the runs")


def totals(document: Document) -> Markup:
    """The sums over all layers."""
    sums, images = document["totals"], document["conditions"]["images"]
    added = [f"{amount(count / images)} by {kind}" for kind, count in sums["operations"].items()]
    left = [f"{amount(count)} in the {kind}" for kind, count in sums["macs"].items()]
    flops: Any = sums["dense_flops"]
    dense = f"{amount(sums['dense_macs'])}, with borders {amount(sums['dense_macs_with_borders'])}"
    rows = [
        ("neurons", f"{sums['neurons']:,}, {sums['silent']:,} of them silent"),
        ("spikes an image", amount(sums["spikes"] / images)),
        ("synaptic operations an image", ", ".join(added) or "0"),
        ("multiplications left", ", ".join(left) or "0"),
        ("multiplications dense", dense),
        ("dense, counted by PyTorch", flops if missing(flops) else f"{amount(flops)} operations, two a multiplication"),
        ("neuron updates an image", amount(sums["neuron_updates"])),
        ("bytes moved a pass", f"{size(sums['bytes'])}; a float simulation {size(sums['bytes_float_simulation'])}"),
    ]
    return pairs(rows)


def layers(document: Document) -> Markup:
    attained = {a["layer"]: a for a in (available(document["roofline"]) or {"layers": []})["layers"]}
    images = document["conditions"]["images"]
    rows = [_layer(layer, images, attained.get(layer["name"])) for layer in document["layers"]]
    return table(LAYER_HEADS, rows, "Every layer", words=(0, len(LAYER_HEADS) - 1))


def _layer(layer: Layer, images: int, attained: Any) -> list[Any]:
    work, spread, said = additions(layer) / images, layer["spread"], available(layer["activation"])
    return [
        layer["name"],
        NONE if layer["rate"] is None else percent(layer["rate"]),
        amount(work),
        amount(sum(m["once"] * m["times"] for m in layer["macs"])),
        amount(layer["dense_macs"]),
        times(divided(work, layer["dense_macs"])),
        NONE if layer["milliseconds"] is None else three(layer["milliseconds"]),
        NONE if layer["dense_milliseconds"] is None else three(layer["dense_milliseconds"]),
        times(divided(layer["milliseconds"], layer["dense_milliseconds"])),
        three(said["correlation"]) if said else NONE,
        three(said["error"]) if said else NONE,
        attained["bound"] if attained else NONE,
        percent(attained["share"]) if attained else NONE,
        f"{layer['neurons']:,}" if layer["neurons"] else NONE,
        f"{spread['silent']:,}" if spread else NONE,
        f"{spread['always']:,}" if spread else NONE,
        amount(layer["neuron_updates"]),
        size(moved(layer)),
        size(layer["bytes"]["float_simulation"]),
        amount(layer["dense_macs_with_borders"]),
        f" {TIMES} ".join(str(n) for n in layer["shape"]),
        layer["kind"],
    ]


def machine(document: Document) -> Markup:
    here, run = document["machine"], document["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items() if version)
    counted = f"{plural(run['images'], 'image')} in {plural(run['batches'], 'batch')}"
    rows = [
        ("processor", here["processor"]),
        ("instruction set", here["instruction_set"]),
        ("cores", here["cores"]),
        ("memory", None if here["memory_bytes"] is None else size(here["memory_bytes"])),
        ("GPU", f"{here['gpu']} (driver {here['driver']})" if here["gpu"] else "not used"),
        ("system", here["system"]),
        ("versions", versions),
        ("counted", f"{counted}, {'with' if run['labelled'] else 'without'} labels"),
        ("timed", f"{plural(run['batch'], 'image')} a pass, {plural(run['threads'], 'thread')}"),
        ("made", document["created"]),
    ]
    return pairs(rows)
