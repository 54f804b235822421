# SPDX-License-Identifier: GPL-2.0-only
"""libvirt's event loop in a thread of its own, for the test programs beside this file."""

import threading

import libvirt


def start():
    """Before the first connection; errors are exceptions and nothing is printed."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def loop():
        while True:
            libvirt.virEventRunDefaultImpl()
    threading.Thread(target=loop, daemon=True).start()
