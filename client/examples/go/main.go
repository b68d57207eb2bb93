// Prints each entity as a line of JSON: go run . BOOTSTRAP GROUP TOPIC,TOPIC [MESSAGES]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

type message struct {
	ID       string `json:"id"`
	Document struct {
		Text string `json:"text"`
	} `json:"document"`
	Entities []struct {
		Start int    `json:"start"`
		End   int    `json:"end"`
		Label string `json:"label"`
	} `json:"entities"`
}

// Repeats have the same ce_id: the last 100,000 are remembered.
type window struct {
	ids   map[string]bool
	order []string
}

func (w *window) add(id string) {
	w.ids[id] = true
	if w.order = append(w.order, id); len(w.order) > 100_000 {
		delete(w.ids, w.order[0])
		w.order = w.order[1:]
	}
}

func main() {
	left := math.MaxInt
	if len(os.Args) > 4 {
		left, _ = strconv.Atoi(os.Args[4])
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Args[1], ",")...),
		kgo.ConsumerGroup(os.Args[2]),
		kgo.ConsumeTopics(strings.Split(os.Args[3], ",")...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseAllowingRebalance()
	seen := window{ids: map[string]bool{}}
	for left > 0 {
		fetches := client.PollFetches(context.Background())
		if err := fetches.Err(); err != nil {
			log.Fatal(err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			id := header(record, "ce_id")
			if seen.ids[id] {
				return
			}
			if err := handle(record.Value); err != nil {
				log.Fatal(err)
			}
			seen.add(id)
			left--
		})
		// After the work, so that nothing is lost.
		if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
			log.Fatal(err)
		}
		client.AllowRebalance()
	}
}

func handle(value []byte) error {
	var found message
	if err := json.Unmarshal(value, &found); err != nil {
		return err
	}
	// start and end count code points, a string's index bytes: runes are code points.
	text := []rune(found.Document.Text)
	for _, entity := range found.Entities {
		line, err := json.Marshal(map[string]any{
			"id":    found.ID,
			"label": entity.Label,
			"start": len(string(text[:entity.Start])),
			"end":   len(string(text[:entity.End])),
			"text":  string(text[entity.Start:entity.End]),
		})
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return nil
}

func header(record *kgo.Record, name string) string {
	for _, each := range record.Headers {
		if each.Key == name {
			return string(each.Value)
		}
	}
	return ""
}
