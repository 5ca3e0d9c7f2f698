"""Profile documents for tests: one of a network like ResNet-20, and one for every way in which a profile can lack."""

from copy import deepcopy
from math import ceil, log2

import numpy as np

from fastsnn.profile import schema

IMAGES, BATCH = 400, 1
HOSTILE = '<script>alert("$x$")</script> & "naïve" 层 $a_b$'
PICOJOULES = {"addition": 0.9, "multiplication": 4.6, "byte": 2.5}


def full(T: int = 16, points: int = 300, name: str = "resnet20", rate: float = 0.12) -> schema.Document:
    """Everything measured: 19 layers with neurons, a pooling and a readout; a converted network on one thread."""
    draw = np.random.default_rng([T, points, round(1000 * rate)])
    layers = [
        _layer(draw, T, points, rate * (0.5 + 0.055 * (7 * i % 19)), i, *where) for i, where in enumerate(_resnet20())
    ]
    layers += [_without_neurons("avgpool", "average pooling, once, on the mean over time", "pool", [64, 1, 1], 0)]
    layers += [_without_neurons("fc", "linear, once, on the mean over time", "readout", [10], 640)]
    totals = _totals(layers)
    work = [sum(sum(o["by_step"][: t + 1]) for x in layers for o in x["operations"]) / IMAGES for t in range(T)]
    models = [_modelled("Horowitz 2014, 45 nm", work, totals, 1.0), _modelled("Loihi 2018", work, totals, 26.0)]
    return {
        "schema": schema.SCHEMA,
        "version": schema.VERSION,
        "created": "2026-11-26T12:00:00+00:00",
        "command": "fastsnn profile --model resnet20.py:resnet20 --data cifar10.npz --timesteps 16",
        "partial": None,
        "notes": ["Layer times were taken one layer at a time; their sum is more than the time of the whole."],
        "machine": _machine(),
        "network": {
            "name": name,
            "source": "converted",
            "method": "opi(threshold=mse per channel, initial potential=0.5)",
            "precision": "int32",
            "timesteps": T,
            "device": "cpu",
            "parameters": 269722,
            "dense": "ResNet",
        },
        "conditions": {"images": IMAGES, "batches": 4, "batch": BATCH, "threads": 1, "labelled": True},
        "layers": layers,
        "totals": totals,
        "time": _time(T),
        "memory": {
            "how": "highest resident set size, sampled every millisecond",
            "peak_bytes": {
                "spiking": 9_437_184,
                "dense, eager": 5_242_880,
                "dense, compiled": schema.unavailable("the compiler's own memory cannot be told apart"),
            },
        },
        "energy": {"measured": _measured(), "modelled": models},
        "accuracy": _accuracy(50 * rate, T, work, models),
        "roofline": _roofline(layers),
    }


def everything_missing() -> schema.Document:
    """Counted, but nothing else: no dense network, no clock, no labels, no counter of energy."""
    document = full()
    document["network"] |= {"dense": None, "precision": None, "source": "module", "method": None}
    document["machine"] |= {"instruction_set": None, "memory_bytes": None}
    document["conditions"]["labelled"] = False
    document["totals"]["dense_flops"] = schema.unavailable("no dense network was given")
    document["time"] = schema.unavailable("another process kept the processor busy")
    document["memory"] = schema.unavailable("this system has no /proc")
    document["energy"] = {"measured": schema.unavailable("/sys/class/powercap is not readable"), "modelled": []}
    document["accuracy"] = schema.unavailable("the images have no labels")
    document["roofline"] = schema.unavailable("no layer was timed by itself")
    for layer in document["layers"]:
        layer |= {"milliseconds": None, "dense_milliseconds": None, "raster": None}
        layer["activation"] = schema.unavailable("no dense network was given") if layer["neurons"] else None
    return document


def partial() -> schema.Document:
    document = full()
    document["partial"] = "stopped by Ctrl-C after 3 of 5 rounds; the roofline was not measured"
    document["roofline"] = schema.unavailable("the run was stopped before")
    return document


def without_neurons() -> schema.Document:
    """A module whose layers hold no neurons at all."""
    document = everything_missing()
    document["layers"] = [x for x in document["layers"] if not x["neurons"]]
    document["totals"] = _totals(document["layers"])
    return document


def hostile() -> schema.Document:
    """Names and texts that are markup, mathematics or rare letters."""
    document = full(name=HOSTILE)
    document |= {"command": f"fastsnn profile --model '{HOSTILE}'", "notes": [HOSTILE], "partial": HOSTILE}
    document["network"] |= {"method": HOSTILE, "dense": HOSTILE}
    document["machine"]["processor"] = HOSTILE
    document["layers"][3] |= {"name": HOSTILE, "kind": HOSTILE}
    document["accuracy"]["curves"][0]["name"] = HOSTILE
    document["energy"]["modelled"][0] |= {"model": HOSTILE, "source": HOSTILE, "assumptions": HOSTILE}
    for curve in document["accuracy"]["curves"]:
        curve["joules"][HOSTILE] = curve["joules"].pop("Horowitz 2014, 45 nm")
    document["energy"]["measured"] = schema.unavailable(HOSTILE)
    document["roofline"]["layers"][3]["layer"] = HOSTILE
    return document


def many_layers(times: int = 7) -> schema.Document:
    """As deep as DenseNet-121 and deeper: the same layers again under other names."""
    document = full()
    body = [x for x in document["layers"] if x["neurons"]]
    for i in range(1, times):
        document["layers"][-2:-2] = [deepcopy(x) | {"name": f"features.denseblock{i}.{x['name']}"} for x in body]
    return document


def _resnet20():
    yield "relu", 16, 32, 3 * 9, 0
    for stage, (channels, side) in enumerate([(16, 32), (32, 16), (64, 8)], start=1):
        for block in range(3):
            before = channels if stage == 1 or block else channels // 2
            yield f"layer{stage}.{block}.relu1", channels, side, 9 * before, 0
            yield f"layer{stage}.{block}.relu2", channels, side, 9 * channels, channels * side**2


def _layer(draw, T, points, rate, index, name, channels, side, fan_in, residual) -> schema.Layer:
    neurons = channels * side**2
    rates = draw.beta(0.5, 0.5 / rate - 0.5, neurons) * (draw.random(neurons) > 0.08)
    ramp = 1 - 0.6 * np.exp(-np.arange(T) / (1 + index / 6))
    spikes = [int(x) for x in IMAGES * neurons * rates.mean() * ramp / ramp.mean()]
    mean = sum(spikes) / (IMAGES * neurons * T)
    histogram = np.histogram(rates, schema.BINS, (0, 1))[0]
    dense = np.abs(draw.normal(0, 1, points)) * (draw.random(points) > 0.4)
    spiking = np.clip(dense + draw.normal(0, 0.05 + 0.01 * index, points), 0, None)
    macs = neurons * fan_in
    first = index == 0
    operations = [] if first else [{"kind": "synapses", "source": "words", "by_step": [s * fan_in for s in spikes]}]
    if residual:
        operations.append({"kind": "residual", "source": "shortcut", "by_step": [int(s * 0.9) for s in spikes]})
    shown = sorted(int(i) for i in draw.choice(neurons, 32, replace=False))
    return {
        "name": name,
        "kind": "conv + IF",
        "role": "first" if first else "spiking",
        "shape": [channels, side, side],
        "neurons": neurons,
        "spikes": spikes,
        "rate": mean,
        "spread": {
            "std": float(rates.std()),
            "p5": float(np.percentile(rates, 5)),
            "p50": float(np.percentile(rates, 50)),
            "p95": float(np.percentile(rates, 95)),
            "histogram": [int(n) for n in histogram],
            "silent": int((rates == 0).sum()),
            "always": int((rates > 0.99).sum()),
        },
        "operations": operations,
        "macs": [{"kind": "first layer", "source": "the image", "once": macs, "times": 1}] if first else [],
        "dense_macs": macs,
        "dense_macs_with_borders": int(macs * 1.06),
        "neuron_updates": neurons * T,
        "bytes": _bytes(neurons, channels * fan_in, T),
        "milliseconds": 0.12 + 0.02 * (index % 5) + 0.4 * first,
        "dense_milliseconds": 0.06 + 0.015 * (index % 4),
        "activation": {
            "correlation": float(np.corrcoef(dense, spiking)[0, 1]),
            "error": float(np.sqrt(((dense - spiking) ** 2).mean() / (dense**2).mean())),
            "points": [(float(a), float(b)) for a, b in zip(dense, spiking, strict=True)],
        },
        "raster": {
            "neurons": shown,
            "steps": [[t for t in range(T) if draw.random() < rates[n]] for n in shown],
        },
    }


def _without_neurons(name, kind, role, shape, macs) -> schema.Layer:
    readout = [{"kind": "readout", "source": "the mean over time", "once": macs, "times": 1}]
    return {
        "name": name,
        "kind": kind,
        "role": role,
        "shape": shape,
        "neurons": 0,
        "spikes": [],
        "rate": None,
        "spread": None,
        "operations": [],
        "macs": readout if macs else [],
        "dense_macs": macs,
        "dense_macs_with_borders": macs,
        "neuron_updates": 0,
        "bytes": _bytes(64, macs, 1),
        "milliseconds": 0.01 if macs else None,
        "dense_milliseconds": 0.008 if macs else None,
        "activation": None,
        "raster": None,
    }


def _bytes(neurons, weights, T) -> schema.Bytes:
    words = neurons * max(T // 8, 1)
    return {
        "weights": 4 * weights,
        "read": words,
        "written": words,
        "potentials": 0,
        "float_simulation": 4 * (neurons * T * 3 + weights * T),
    }


def _totals(layers) -> schema.Totals:
    neurons, spikes = sum(x["neurons"] for x in layers), sum(sum(x["spikes"]) for x in layers)
    updates = sum(x["neuron_updates"] for x in layers)
    kinds = {o["kind"] for x in layers for o in x["operations"]}
    moved = [sum(n for key, n in x["bytes"].items() if key != "float_simulation") for x in layers]
    return {
        "neurons": neurons,
        "spikes": spikes,
        "rate": spikes / (updates * IMAGES) if updates else 0.0,
        "silent": sum(x["spread"]["silent"] for x in layers if x["spread"]),
        "operations": {
            kind: sum(sum(o["by_step"]) for x in layers for o in x["operations"] if o["kind"] == kind)
            for kind in sorted(kinds)
        },
        "macs": {m["kind"]: m["once"] * m["times"] for x in layers for m in x["macs"]},
        "dense_macs": sum(x["dense_macs"] for x in layers),
        "dense_macs_with_borders": sum(x["dense_macs_with_borders"] for x in layers),
        "dense_flops": 2 * sum(x["dense_macs_with_borders"] for x in layers),
        "neuron_updates": updates,
        "bytes": sum(moved),
        "bytes_float_simulation": sum(x["bytes"]["float_simulation"] for x in layers),
    }


def _machine() -> schema.Machine:
    return {
        "processor": "AMD EPYC 9R14",
        "instruction_set": "avx512",
        "cores": 2,
        "memory_bytes": 8 * 2**30,
        "system": "Linux 6.1 x86_64",
        "gpu": None,
        "driver": None,
        "versions": {"fastsnn": "0.1.0", "torch": "2.11.0+cu130", "triton": None},
    }


def _time(T) -> schema.Time:
    def run(name, ms):
        percentiles = {"p20": 0.98 * ms, "p50": ms, "p80": 1.03 * ms}
        return {"name": name, "milliseconds": percentiles, "images_a_second": 1000 * BATCH / ms, "ratio": ms / 2.39}

    late = {
        "name": "spiking, compiled",
        "milliseconds": schema.unavailable("torch.compile found no C++ compiler"),
        "images_a_second": None,
        "ratio": None,
    }
    return {
        "rounds": 50,
        "warm_up": 5,
        "runs": [run("spiking", 5.40), run("dense, eager", 2.39), run("dense, compiled", 1.84), late],
        "by_steps": [(t, 1.4 + 0.25 * t) for t in (1, 2, 4, 8, 16) if t <= T],
    }


def _measured() -> schema.MeasuredEnergy:
    def run(name, joules):
        return {
            "name": name,
            "joules_an_image": joules,
            "gross_joules": 3 * joules * 500,
            "idle_watts": 41.0,
            "seconds": 10.0,
            "images": 1500,
        }

    return {
        "how": "RAPL, /sys/class/powercap/intel-rapl:0",
        "covers": "processor package, without memory",
        "runs": [run("spiking", 0.31), run("dense, eager", 0.14)],
    }


def _modelled(name, work, totals, scale) -> schema.Modelled:
    T, macs = len(work), sum(totals["macs"].values())
    pj = {key: scale * 1e-12 * cost for key, cost in PICOJOULES.items()}
    parts = {
        "synaptic operations": work[-1] * pj["addition"],
        "multiplications": macs * pj["multiplication"],
        "neuron updates": totals["neuron_updates"] * pj["addition"],
        "memory": totals["bytes"] * pj["byte"],
    }
    steps = [sum(parts.values()) * (0.3 + 0.7 * w / work[-1]) for w in work] if work[-1] else [0.0] * T
    bits = ceil(log2(T + 1))
    return {
        "model": name,
        "source": "M. Horowitz, Computing's energy problem, ISSCC 2014",
        "costs": {"mac_pj": 4.6 * scale, "accumulate_pj": 0.9 * scale, "word_bytes": 4.0},
        "assumptions": "Additions in 32 bits; everything is read from a cache of 32 kB once.",
        "spiking": sum(parts.values()),
        "parts": parts,
        "dense": totals["dense_macs"] * pj["multiplication"],
        "quantised": totals["dense_macs"] * pj["multiplication"] * bits / 32,
        "bits": bits,
        "spiking_by_step": steps,
    }


def _accuracy(slow, T, work, models) -> schema.Accuracy:
    def curve(name, slow):
        values = [round(IMAGES * (0.1 + 0.81 * (1 - np.exp(-(t**1.4) / slow)))) / IMAGES for t in range(1, T + 1)]
        error = float(np.sqrt(values[-1] * (1 - values[-1]) / IMAGES))
        return {
            "name": name,
            "accuracy": values,
            "standard_error": error,
            "spikes": [w / 140 for w in work],
            "operations": list(work),
            "joules": {m["model"]: list(m["spiking_by_step"]) for m in models},
            "knee": next(t for t in range(1, T + 1) if values[t - 1] >= values[-1] - error),
        }

    return {"images": IMAGES, "dense": 0.9125, "curves": [curve("V(0) = theta/2", slow), curve("V(0) = 0", 3.5 * slow)]}


def _roofline(layers) -> schema.Roofline:
    peaks = {"bytes_a_second": 9.2e9, "operations_a_second": 2.1e10, "how": "a copy of 256 MB; additions in registers"}
    attained = []
    for layer in layers:
        additions = sum(sum(o["by_step"]) for o in layer["operations"]) / IMAGES * BATCH
        if not additions or not layer["milliseconds"]:
            continue
        moved = sum(n for key, n in layer["bytes"].items() if key != "float_simulation")
        intensity = additions / moved if layer["shape"][0] > 16 else additions / moved / 150
        allowed = min(peaks["operations_a_second"], intensity * peaks["bytes_a_second"])
        share = 0.25 + 0.06 * (len(attained) % 9)
        attained.append(
            {
                "layer": layer["name"],
                "operations_a_second": share * allowed,
                "bytes_a_second": share * allowed / intensity,
                "intensity": intensity,
                "bound": "additions" if allowed == peaks["operations_a_second"] else "memory",
                "share": share,
            }
        )
    return {"peaks": peaks, "layers": attained}
