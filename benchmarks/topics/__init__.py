"""What is measured, one module a topic.

``measure`` runs in the process of a contestant and returns what JSON can carry; ``run`` says whom
to ask for what, in which order, and what comes of it.
"""
