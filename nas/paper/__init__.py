"""What a paper takes over from a study: tables, a paragraph on methods, references, figures, and how to do it again."""
