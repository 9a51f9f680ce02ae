"""The protocols that predictions can be asked for in, each a list of routes over the same rows and the same answers.

- :mod:`~trainyard_predictor.protocols.own`: ``POST /v1/predict/{model}``
- :mod:`~trainyard_predictor.protocols.open_inference`: the Open Inference Protocol v2 under ``/v2``
- :mod:`~trainyard_predictor.protocols.scoring`: ``/invocations`` as MLflow's scoring servers and SageMaker's containers
  take it

A protocol turns what it is sent into rows (values as JSON has them, by column name), asks
:class:`~trainyard_predictor.protocols.ask.Ask`, and turns the answer into its own form: no protocol computes, checks
values or logs, so all of them answer alike (docs/protocols.md).
"""
