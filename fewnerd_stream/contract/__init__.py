"""What goes in and out: taxonomy, topic names, records, documents, envelope, schema. No Kafka, no model."""
