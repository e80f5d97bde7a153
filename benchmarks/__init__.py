"""Measurements beside what a user would pick instead, as ratios in one run: ``make bench``.

Data flows from :mod:`.events` (an answer as OpenAI sends it) through :mod:`.server` (a process) to
a contestant (:mod:`.contestants`, each in a process of its own, :mod:`.worker`). What is measured,
and in which order, is told by one module a topic, in :mod:`.topics`; :mod:`.report` and
:mod:`.plot` show it. :mod:`.guard` counts instead of timing, against a recorded budget, so that a
regression fails the tests on any machine.
"""
