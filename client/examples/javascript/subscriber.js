// Prints each entity as a line of JSON: node subscriber.js BOOTSTRAP GROUP TOPIC,TOPIC [MESSAGES]
import { Consumer } from '@platformatic/kafka'

const [bootstrap, groupId, topics, messages] = process.argv.slice(2)
let left = messages ? Number(messages) : Infinity
const seen = new Set() // repeats have the same ce_id: the last 100,000 are remembered

// start and end count code points, a string's index UTF-16 units.
function utf16 (text, codePoints) {
  let index = 0
  for (; codePoints > 0; codePoints--) index += text.codePointAt(index) > 0xffff ? 2 : 1
  return index
}

function handle (message) {
  const text = message.document.text
  for (const entity of message.entities) {
    const [start, end] = [utf16(text, entity.start), utf16(text, entity.end)]
    console.log(JSON.stringify({ id: message.id, label: entity.label, start, end, text: text.slice(start, end) }))
  }
}

const consumer = new Consumer({ clientId: 'fewnerd-subscriber', groupId, bootstrapBrokers: bootstrap.split(',') })
const stream = await consumer.consume({
  topics: topics.split(','),
  autocommit: false,
  mode: 'committed',
  fallbackMode: 'earliest'
})
for await (const record of stream) {
  const event = header(record.headers, 'ce_id')
  if (!seen.has(event)) {
    handle(JSON.parse(record.value.toString()))
    seen.add(event)
    if (seen.size > 100_000) seen.delete(seen.values().next().value)
    left--
  }
  await record.commit() // after the work, so that nothing is lost
  if (left <= 0) break
}
await consumer.close(true)

function header (headers, name) {
  for (const [key, value] of headers) if (key.toString() === name) return value.toString()
}
