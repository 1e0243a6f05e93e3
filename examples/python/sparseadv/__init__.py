# SPDX-License-Identifier: MPL-2.0
"""Sparse adversarial attacks on video classifiers, through the GStreamer element `sparseadv`."""
