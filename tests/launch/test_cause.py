"""From a log to the few lines a user needs."""

from __future__ import annotations

from fcit_app.launch.cause import cause_of, last_lines

FRAMES = """\
\x1b[92mINFO \x1b[0m:      Starting Flower Simulation
\x1b[91mERROR \x1b[0m:     Simulation raised an exception
Traceback (most recent call last):
  File "/v/lib/python3.11/site-packages/flwr/simulation/app.py", line 337, in run
    result = _run()
             ^^^^^^
  File "/tmp/fcit-x/flwr/apps/fcit.fcit-disco.0.1.0.ab/server_app/app.py", line 17, in main
    raise Something
"""
END = """\
\x1b[91mERROR \x1b[0m:     Exit Code: 700

An unhandled exception occurred when running the simulation.
"""


def test_an_error_of_ours_is_its_message_alone():
    log = (
        FRAMES + "fcit_app.errors.ConfigError: 1 problem in the configuration:\n  - beta: 0\n" + END
    )
    assert cause_of(log) == "1 problem in the configuration:\n  - beta: 0"


def test_other_errors_keep_our_frames_but_not_flowers():
    assert cause_of(FRAMES + "ValueError: no\nsecond line\n" + END) == (
        '  File "server_app/app.py", line 17, in main\n'
        "    raise Something\n"
        "ValueError: no\n"
        "second line"
    )


def test_the_last_traceback_counts_and_ray_prefixes_go():
    prefix = "\x1b[36m(ClientAppActor pid=12)\x1b[0m "
    lines = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "OSError: full"]
    log = FRAMES + "ValueError: first\n" + END + "".join(f"{prefix}{line}\n" for line in lines)
    assert cause_of(log) == '  File "a.py", line 1, in f\nOSError: full'


def test_flowers_own_frames_stay_if_there_are_no_others():
    log = FRAMES.split('  File "/tmp')[0] + "RuntimeError: Flower broke\n"
    assert cause_of(log).startswith('  File "/v/lib')
    assert cause_of(log).endswith("RuntimeError: Flower broke")


def test_without_traceback_the_error_lines():
    log = "INFO :  fine\n\x1b[91mERROR \x1b[0m:     ActorPool is empty\nINFO : bye\n"
    assert cause_of(log) == "ERROR :     ActorPool is empty"
    assert cause_of("INFO : fine\n") == ""


def test_last_lines():
    assert last_lines("a\n\n\x1b[1mb\x1b[0m\nc\n", 2) == "b\nc"
