"""The report: numbers (summary, measure, facts, parameters) and the PDF (build, the .typ files)."""
