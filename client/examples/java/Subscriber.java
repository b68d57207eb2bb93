import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Prints each entity as a line of JSON: java Subscriber BOOTSTRAP GROUP TOPIC,TOPIC [MESSAGES]. */
public final class Subscriber {
  /** Repeats have the same ce_id: the last 100,000 are remembered. */
  private static final Map<String, Boolean> SEEN =
      new LinkedHashMap<>() {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
          return size() > 100_000;
        }
      };

  public static void main(String[] arguments) throws Exception {
    Properties properties = new Properties();
    properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
    properties.put(ConsumerConfig.GROUP_ID_CONFIG, arguments[1]);
    properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
    long left = arguments.length > 3 ? Long.parseLong(arguments[3]) : Long.MAX_VALUE;
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    ObjectMapper json = new ObjectMapper();
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(arguments[2].split(",")));
      while (left > 0) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofSeconds(1));
        for (ConsumerRecord<byte[], byte[]> record : records) {
          Header id = record.headers().lastHeader("ce_id");
          String event = new String(id.value(), StandardCharsets.UTF_8);
          if (SEEN.containsKey(event)) {
            continue;
          }
          handle(json, record.value(), out);
          SEEN.put(event, true);
          left--;
        }
        consumer.commitSync(); // after the work, so that nothing is lost
      }
    }
  }

  private static void handle(ObjectMapper json, byte[] value, PrintStream out) throws Exception {
    JsonNode message = json.readTree(value);
    String text = message.at("/document/text").asText();
    for (JsonNode entity : message.get("entities")) {
      // start and end count code points, a String's index UTF-16 units.
      int start = text.offsetByCodePoints(0, entity.get("start").asInt());
      int end = text.offsetByCodePoints(0, entity.get("end").asInt());
      out.println(
          json.writeValueAsString(
              Map.of(
                  "id", message.get("id").asText(),
                  "label", entity.get("label").asText(),
                  "start", start,
                  "end", end,
                  "text", text.substring(start, end))));
    }
  }

  private Subscriber() {}
}
