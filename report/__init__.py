"""The report: numbers (summary, measure, parameters), what they say (facts, claims), the PDF."""
