"""others.py FILE SECONDS: messages/s of python3-hl7: "parse" and "parse, read 5, set 2, write".
Prints two numbers, or nothing when it is not installed."""
import sys
import time

try:
    import hl7
except ImportError:
    sys.exit(0)

text = open(sys.argv[1], encoding="latin-1", newline="").read()


def parse():
    return hl7.parse(text)


def work():
    m = parse()
    for path in ("PID.F5.R1.C1", "PID.F3.R1.C1", "MSH.F10", "PV1.F3.R1.C1", "PID.F7"):
        str(m.extract_field(*where[path]))
    m.assign_field("SMITH", "PID", 1, 5, 1, 1)
    m.assign_field("V2", "PV1", 1, 19)
    str(m)


where = {"PID.F5.R1.C1": ("PID", 1, 5, 1, 1), "PID.F3.R1.C1": ("PID", 1, 3, 1, 1), "MSH.F10": ("MSH", 1, 10),
         "PV1.F3.R1.C1": ("PV1", 1, 3, 1, 1), "PID.F7": ("PID", 1, 7)}


def rate(fn):
    best, n, stop = 0, 1, time.monotonic() + float(sys.argv[2])
    while time.monotonic() < stop:
        start = time.process_time()
        for _ in range(n):
            fn()
        took = time.process_time() - start
        if took > 0.002:
            best = max(best, n / took)
        else:
            n *= 2
    return round(best)


print(rate(parse), rate(work))
