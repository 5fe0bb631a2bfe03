# SPDX-License-Identifier: Apache-2.0
"""Rules over the answers of a batch, run apart from the engines as results arrive."""
