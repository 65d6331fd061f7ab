"""Makes `test` a package of its own: the source package of kafka-python leaves this file out."""
