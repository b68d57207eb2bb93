"""Every private name of Faust and aiokafka."""
