"""The process of the command `littlebig`, also of `python -m littlebig_cli`."""

import signal


def run() -> None:
    """Import and run the command line; Ctrl-C before it can handle one ends the process without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # a shell's background job ignores SIGINT: keep that
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from littlebig_cli.main import main  # noqa: PLC0415  (what an early Ctrl-C may end)

    signal.signal(signal.SIGINT, handler)
    main()


if __name__ == "__main__":
    run()
