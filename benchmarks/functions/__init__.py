"""Lambda functions that ``benchmarks.cold_start`` compares with, each the least that does its work.

The two with a model read a pointer and an artifact from S3 as ours does, with our S3 client, which is the quickest
there is; they check nothing, know nobody and log nothing. They run in the peers' environment.
"""
