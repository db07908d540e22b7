"""Run many command lines of our scripts, each in a process of its own, and see what they write.

Reads lines of JSON, {"script", "arguments", "environment", "cwd"}, and answers each with
{"status", "stdout", "stderr", "written"}; `written` are the paths that are opened for writing,
made, renamed or removed. The processes are forked from this one, which has paid for the imports.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback

import part2_conv  # noqa: F401  with what our scripts import, and so their slow imports
import part3_architectures  # noqa: F401

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def log_writes(log):
    """Write every path that this process changes to the file descriptor `log`."""

    def hook(event, arguments):
        paths = []
        if event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & WRITING:
            paths = [arguments[0]]
        elif event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # the name in a folder
            paths = [os.path.join(f"/proc/self/fd/{arguments[1]}", arguments[0])]
        elif event in CHANGES:
            paths = [path for path in arguments if isinstance(path, (str, bytes))]
        for path in paths:
            os.write(log, json.dumps(os.path.realpath(os.fsdecode(path))).encode() + b"\n")

    sys.addaudithook(hook)


def behave(request, stdout, stderr, log):
    """What a new process does: run the script as `python SCRIPT ARGUMENTS` would."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.chdir(request["cwd"])
    os.environ |= request["environment"]
    sys.argv = [request["script"], *request["arguments"]]
    log_writes(log)
    try:
        runpy.run_path(request["script"], run_name="__main__")
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve(request):
    """Run one command line in a forked process, and say what came of it."""
    with (
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
        tempfile.TemporaryFile() as log,
    ):
        files = (stdout, stderr, log)
        process = os.fork()
        if not process:
            status = 99
            try:
                status = behave(request, *(file.fileno() for file in files))
                sys.stdout.flush()
            finally:
                os._exit(status)
        _, status = os.waitpid(process, 0)
        for file in files:
            file.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "stdout": stdout.read().decode(errors="replace"),
            "stderr": stderr.read().decode(errors="replace"),
            "written": [json.loads(line) for line in log],
        }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)
