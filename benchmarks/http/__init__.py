"""Predictions over HTTP against other model servers: the same trees and rows, two workers each, rates and latency.

Every server answers the same rows of 30 floats by the same 200 trees (fitted by scikit-learn; ours are converted, ONNX
Runtime's are in single precision), and its answers are compared first. Ours alone checks an API key and each value,
gives ids and logs every row; the log goes to the emulator's SQS, which shares the processors, as the load does. All
servers run at once, and rounds are interleaved: figures are medians, ratios are taken within a round. The processor
time is that of a server's processes alone, and hardly depends on what else the machine does.
"""

from benchmarks.http.command import run

__all__ = ["run"]
