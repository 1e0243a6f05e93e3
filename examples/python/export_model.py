# SPDX-License-Identifier: MPL-2.0
"""Writes a video classifier as the TorchScript archive that the GStreamer element `sparseadv` loads.

    python export_model.py --help
"""

import sys

from sparseadv.exporter.command import main

if __name__ == "__main__":
    sys.exit(main())
