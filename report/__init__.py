"""The report: its numbers (summary), what follows from them (facts, claims), the PDF (build)."""
