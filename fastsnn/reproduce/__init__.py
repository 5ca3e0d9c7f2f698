"""The tables of the papers, with our networks: what was published beside what is measured here."""

from fastsnn.reproduce.plan import EXPERIMENTS, Experiment, Plan, plan
from fastsnn.reproduce.report import figure, markdown
from fastsnn.reproduce.run import Subject, reproduce

__all__ = ["EXPERIMENTS", "Experiment", "Plan", "Subject", "figure", "markdown", "plan", "reproduce"]
