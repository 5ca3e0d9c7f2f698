"""Joules are those of the counters: found where they are, unwound, without the idle power; and if not, why not."""

import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
import torch

from fastsnn.profile import meters, nvml, rapl
from fastsnn.profile.schema import missing

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)
RANGE = 262143328850


def zone(root, name, label, energy=0, reach=RANGE):
    """A zone of a pretended /sys/class/powercap: its counter, to be written to."""
    folder = root / name
    folder.mkdir()
    (folder / "name").write_text(f"{label}\n")
    (folder / "max_energy_range_uj").write_text(f"{reach}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    return folder / "energy_uj"


@pytest.fixture
def tree(tmp_path):
    """Every kind of zone that there is, two packages, one of them with memory. Each counter has a value of its own."""
    (tmp_path / "intel-rapl").mkdir()
    (tmp_path / "intel-rapl-mmio").mkdir()
    labels = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "uncore",
        "intel-rapl:0:2": "dram",
        "intel-rapl:1": "package-1-die-0",
        "intel-rapl:2": "psys",
        "intel-rapl:2:0": "dram",
        "intel-rapl-mmio:0": "package-0",
        "intel-rapl-mmio:0:0": "dram",
    }
    return {name: zone(tmp_path, name, label, 10**6 * i) for i, (name, label) in enumerate(labels.items())}


def advance(file, microjoules, reach=RANGE):
    file.write_text(str((int(file.read_text()) + microjoules) % reach))


def test_rapl_counts_packages_and_their_memory_and_nothing_twice(tree, tmp_path):
    meter = rapl.find(tmp_path)
    meter.start()
    for i, file in enumerate(tree.values()):
        advance(file, 10**i)
    # of intel-rapl:0, its dram, and intel-rapl:1
    assert meter.read() == pytest.approx((10**0 + 10**3 + 10**4) / 1e6)
    assert "intel-rapl:0 (package-0), intel-rapl:1 (package-1-die-0), intel-rapl:0:2 (dram)" in meter.how
    assert "2 processor packages" in meter.covers and "and main memory" in meter.covers
    meter.start()
    assert meter.read() == 0.0


def test_rapl_of_an_amd_processor(tmp_path):
    file = zone(tmp_path, "intel-rapl:0", "package-0", reach=65532610987)
    zone(tmp_path, "intel-rapl:0:0", "core")
    meter = rapl.find(tmp_path)
    advance(file, 2 * 10**6)
    assert meter.read() == pytest.approx(2.0)
    assert "1 processor package with" in meter.covers and "without main memory" in meter.covers


def test_rapl_counters_that_start_again_are_unwound_at_each_reading(tmp_path):
    file = zone(tmp_path, "intel-rapl:0", "package-0", energy=900, reach=1000)
    meter = rapl.find(tmp_path)
    meter.start()
    for read in range(1, 8):
        advance(file, 600, 1000)
        assert meter.read() == pytest.approx(600 * read / 1e6)
    # twice round between two readings cannot be seen, which is why a thread reads
    advance(file, 1000, 1000)
    assert meter.read() == pytest.approx(600 * 7 / 1e6)


def test_without_rapl_the_reason_is_told(tmp_path):
    def reason(root):
        found = rapl.find(root)
        assert missing(found)
        return found["not_measurable"]

    assert "there is no" in reason(tmp_path / "none")
    assert "holds no intel-rapl zones (virtual machines" in reason(tmp_path)
    (tmp_path / "intel-rapl:0").symlink_to(tmp_path / "hidden")
    assert "containers hide them" in reason(tmp_path)
    (tmp_path / "intel-rapl:0").unlink()
    zone(tmp_path, "intel-rapl:0", "psys")
    assert "none of the zones" in reason(tmp_path)
    zone(tmp_path, "intel-rapl:1", "package-0").write_text("many\n")
    assert "must hold a whole number, it holds 'many'" in reason(tmp_path)


def test_rapl_that_only_root_may_read_says_which_file_and_what_to_do(tree, tmp_path, monkeypatch):
    read = rapl.Path.read_text

    def refused(path, *args, **kwargs):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *args, **kwargs)

    monkeypatch.setattr(rapl.Path, "read_text", refused)
    why = rapl.find(tmp_path)["not_measurable"]
    assert str(tmp_path / "intel-rapl:0" / "energy_uj") in why
    assert f"sudo chmod a+r {tmp_path}/intel-rapl:*/energy_uj" in why


class Nvml(ModuleType):
    """A pretended pynvml: two GPUs in another order than CUDA's."""

    class NVMLError(Exception):
        pass

    def __init__(self, broken=()):
        super().__init__("pynvml")
        self.broken, self.asked = set(broken), []
        self.energy, self.power = {"first": 0, "second": 10**9}, {"first": 1, "second": 100_000}

    def nvmlInit(self):
        self.refuse("init", "Driver Not Loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid):
        self.refuse("uuid", "Not Found")
        return {"GPU-11111111-aaaa": "first", "GPU-22222222-bbbb": "second"}[uuid]

    def nvmlDeviceGetHandleByPciBusId(self, place):
        self.refuse("pci", "Not Found")
        return {"00000000:17:00.0": "first", "00000001:c1:0a.0": "second"}[place]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        self.refuse("energy", "Not Supported")
        return self.energy[handle]

    def nvmlDeviceGetPowerUsage(self, handle):
        self.refuse("power", "Unknown Error")
        return self.power[handle]

    def refuse(self, what, why):
        self.asked.append(what)
        if what in self.broken:
            raise self.NVMLError(why)


# CUDA's second GPU, as torch tells of it
PROPERTIES = {"name": "a GPU", "uuid": "22222222-bbbb", "pci_domain_id": 1, "pci_bus_id": 0xC1, "pci_device_id": 0x0A}


@pytest.fixture
def pretend(monkeypatch):
    """Installs a pretended pynvml with what is broken in it, and what torch tells of the GPU."""

    def install(*broken, has=PROPERTIES):
        library = Nvml(broken)
        monkeypatch.setitem(sys.modules, "pynvml", library)
        monkeypatch.setattr(torch.cuda, "get_device_properties", {GPU: SimpleNamespace(**has)}.__getitem__)
        return library

    return install


def test_a_gpu_is_counted_by_its_energy_counter(pretend):
    library = pretend()
    meter = meters.find(GPU)
    assert isinstance(meter, nvml.Counter) and "nvmlDeviceGetTotalEnergyConsumption" in meter.how
    library.energy["second"] += 2500
    library.energy["first"] += 7
    assert meter.read() == pytest.approx(2.5)
    meter.start()
    assert meter.read() == 0.0


@pytest.mark.parametrize("broken", [(), ("uuid",)])
def test_a_gpu_is_found_by_uuid_or_place_and_not_by_number(pretend, broken):
    library = pretend(*broken)
    assert meters.find(GPU).handle == "second"
    assert ("pci" in library.asked) == bool(broken)


def test_properties_of_older_versions_of_torch(pretend):
    pretend(has={"name": "a GPU", "uuid": "GPU-11111111-aaaa"})
    assert meters.find(GPU).handle == "first"
    pretend(has={"name": "a GPU"})
    assert "tells neither UUID nor PCI bus of a GPU" in meters.find(GPU)["not_measurable"]


def test_power_is_added_up_where_there_is_no_counter(pretend, monkeypatch):
    library = pretend("energy")
    now = [50.0]
    monkeypatch.setattr(nvml, "perf_counter", lambda: now[0])
    meter = meters.find(GPU)
    assert isinstance(meter, nvml.Sampled) and "nvmlDeviceGetPowerUsage" in meter.how
    joules = []
    # trapezoids from 100 W: 0.5 s up to 300 W, 1 s down to 200 W, 0.25 s there
    for seconds, milliwatts in ((0.5, 300_000), (1.0, 200_000), (0.25, 200_000)):
        now[0] += seconds
        library.power["second"] = milliwatts
        joules.append(meter.read())
    assert joules == pytest.approx([100.0, 350.0, 400.0])
    meter.start()
    now[0] += 1.0
    assert meter.read() == pytest.approx(200.0)


@pytest.mark.parametrize(
    "broken, why",
    [
        (("init",), "nvmlInit: Driver Not Loaded"),
        (("uuid", "pci"), "nvmlDeviceGetHandleByUUID: Not Found; nvmlDeviceGetHandleByPciBusId: Not Found"),
        (("energy", "power"), "neither energy nor power of cuda:1: nvmlDeviceGetTotalEnergyConsumption: Not Supported"),
    ],
)
def test_errors_of_nvml_are_reasons(pretend, broken, why):
    pretend(*broken)
    assert why in meters.find(GPU)["not_measurable"]


def test_an_old_pynvml_is_no_crash(pretend, monkeypatch):
    pretend()
    monkeypatch.delattr(Nvml, "nvmlDeviceGetTotalEnergyConsumption")
    assert isinstance(meters.find(GPU), nvml.Sampled)


def test_without_pynvml_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert 'pip install "fastsnn[profile]"' in meters.find(GPU)["not_measurable"]


def test_other_devices_have_no_meter():
    assert "not on meta" in meters.find(torch.device("meta"))["not_measurable"]


class Bench:
    """A machine on a clock of its own: 10 W when left alone, more while something runs, a counter that moves in steps.

    step  seconds between two movements
    """

    how, covers, interval = "a pretended counter", "nothing real", 1000.0

    def __init__(self, monkeypatch, step=0.05, idle=10.0):
        self.now, self.joules, self.shown, self.begin = 1000.0, 0.0, 0.0, 0.0
        self.step, self.idle, self.log = step, idle, []
        monkeypatch.setattr(meters, "perf_counter", lambda: self.now)
        monkeypatch.setattr(meters, "sleep", lambda seconds: self.spend(max(seconds, 1e-3), self.idle))

    def spend(self, seconds, watts):
        """Lets time pass at a power; the counter shows what there was at its last movement."""
        moved = (self.now + seconds) // self.step * self.step
        if moved > self.now:
            self.shown = self.joules + (moved - self.now) * watts
        self.now, self.joules = self.now + seconds, self.joules + seconds * watts

    def run(self, name, seconds, watts):
        def run():
            self.log.append(name)
            self.spend(seconds, watts)

        return run

    def start(self):
        self.begin = self.shown

    def read(self):
        return self.shown - self.begin


def test_net_energy_is_what_the_runs_add(monkeypatch):
    bench = Bench(monkeypatch)
    runs = {"big": bench.run("big", 0.3, 60.0), "small": bench.run("small", 0.2, 12.0)}
    big, small = meters.measure(bench, runs, images=4, device=CPU, seconds=3.0)
    assert (big["name"], small["name"]) == ("big", "small")
    assert big["joules_an_image"] == pytest.approx(0.3 * 50 / 4, rel=0.01)
    assert small["joules_an_image"] == pytest.approx(0.2 * 2 / 4, rel=0.05)
    for run, watts in ((big, 60), (small, 12)):
        assert run["idle_watts"] == pytest.approx(10.0, rel=0.01)
        assert 3.0 <= run["seconds"] < 3.0 + 3 * 0.6
        # a window ends with less than one step at idle power
        assert watts * 3.0 * 0.98 < run["gross_joules"] <= watts * run["seconds"]
    assert big["images"] == 4 * (bench.log.count("big") - 1)


def test_without_waiting_for_the_counter_it_would_be_wrong(monkeypatch):
    found = []
    for patience in (0.5, 0.0):
        with pytest.MonkeyPatch.context() as patch:
            bench = Bench(patch, step=0.4)
            patch.setattr(meters, "PATIENCE", patience)
            (run,) = meters.measure(bench, {"a": bench.run("a", 0.25, 50.0)}, 1, CPU, seconds=1.0)
            found.append(abs(run["joules_an_image"] / (0.25 * 40) - 1))
    assert found[0] < 0.02 < 0.05 < found[1]


def test_runs_take_turns_where_time_allows(monkeypatch):
    bench = Bench(monkeypatch)
    runs = {name: bench.run(name, 0.5, 20.0) for name in "ab"}
    meters.measure(bench, runs, 1, CPU, seconds=2.0)
    assert "".join(bench.log) == "ab" + "aabb" * 2
    bench.log.clear()
    meters.measure(bench, runs, 1, CPU, seconds=0.1)
    assert "".join(bench.log) == "ab" + "ab"


def test_noise_is_neither_hidden_nor_unsaid(monkeypatch):
    bench = Bench(monkeypatch)
    runs = {"less": bench.run("less", 0.5, 9.0), "clear": bench.run("clear", 0.5, 40.0)}
    found = meters.measure(bench, runs, 1, CPU, seconds=1.0)
    assert found[0]["joules_an_image"] == pytest.approx(-0.5, rel=0.1)
    (doubt,) = meters.doubts(found)
    assert "Energy of less: -0.5" in doubt and "within what that power drifts by" in doubt
    assert meters.doubts(found[1:]) == []


def test_a_counter_that_stands_still_is_none(monkeypatch, tmp_path):
    file = zone(tmp_path, "intel-rapl:0", "package-0")
    for name in ("IDLE", "REST", "PATIENCE"):
        monkeypatch.setattr(meters, name, 0.001)
    monkeypatch.setattr(meters, "find", lambda _: rapl.find(tmp_path))
    found = meters.measured({"a": lambda: None}, 1, CPU, seconds=0.001)
    assert "does not move" in found["not_measurable"]
    found = meters.measured({"a": lambda: advance(file, 1000)}, 1, CPU, seconds=0.001)
    assert found["runs"][0]["gross_joules"] > 0 and "package-0" in found["how"] and "idle power" in found["how"]


def test_a_meter_that_stops_is_a_reason_and_a_run_that_fails_is_an_error(monkeypatch, tmp_path):
    file = zone(tmp_path, "intel-rapl:0", "package-0")
    for name in ("IDLE", "REST", "PATIENCE"):
        monkeypatch.setattr(meters, name, 0.001)
    monkeypatch.setattr(meters, "find", lambda _: rapl.find(tmp_path))

    def failing():
        raise FileNotFoundError("no such image")

    with pytest.raises(FileNotFoundError, match="no such image"):
        meters.measured({"a": failing}, 1, CPU, seconds=0.001)
    found = meters.measured({"a": lambda: file.unlink(missing_ok=True)}, 1, CPU, seconds=0.001)
    assert "the meter stopped" in found["not_measurable"] and "energy_uj" in found["not_measurable"]


def test_a_thread_reads_while_something_runs(tmp_path, monkeypatch):
    """Six times round the counter, which the readings at both ends alone would miss."""
    file = zone(tmp_path, "intel-rapl:0", "package-0", reach=1000)
    monkeypatch.setattr(meters, "PATIENCE", 0.001)
    meter = rapl.find(tmp_path)
    meter.interval = 0.002
    read, reads = meter.read, []
    meter.read = lambda: reads.append(1) or read()

    def work():
        for _ in range(10):
            before = len(reads)
            (tmp_path / "next").write_text(str((int(file.read_text()) + 600) % 1000))
            # a file that is being written is empty for a moment
            (tmp_path / "next").replace(file)
            while len(reads) < before + 2:
                time.sleep(0.001)
        return 10

    found = meters.window(meter, work)
    assert found.joules == pytest.approx(6000 / 1e6) and found.times == 10


def test_what_a_thread_cannot_read_ends_the_window(pretend, monkeypatch):
    library = pretend()
    meter = meters.find(GPU)
    meter.interval = 0.001
    monkeypatch.setattr(meters, "PATIENCE", 0.001)

    def work():
        library.broken.add("energy")
        time.sleep(0.05)
        library.broken.clear()
        return 1

    with pytest.raises(meters.MeterStopped, match=r"the meter stopped: nvmlDeviceGetTotalEnergy.*Not Supported"):
        meters.window(meter, work)


@pytest.mark.parametrize("runs, images, seconds", [({}, 1, 1.0), ({"a": int}, 0, 1.0), ({"a": int}, 1, 0.0)])
def test_what_makes_no_sense_is_refused(monkeypatch, runs, images, seconds):
    with pytest.raises(ValueError, match="measure needs runs, images and seconds above 0"):
        meters.measure(Bench(monkeypatch), runs, images, CPU, seconds)


def test_a_gpu_is_waited_for(monkeypatch):
    bench = Bench(monkeypatch)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: bench.log.append(device))
    meters.measure(bench, {"a": bench.run("a", 0.5, 20.0)}, 1, GPU, seconds=1.0)
    assert bench.log == ["a", GPU] * 3
