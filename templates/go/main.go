// Maps messages to tasks. It reads the payload from stdin, and writes tasks to stdout and the log to stderr. A non-zero exit
// refuses the payload, with the last line of stderr as the message for the sender. A panic is reported with its place.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type message struct {
	Message string `json:"message"`
	From    string `json:"from"`
	Due     string `json:"due"`
	Spam    bool   `json:"spam"`
}

type config struct {
	DefaultAssignee string `json:"default_assignee"`
}

type task struct {
	Title           string   `json:"title"`
	Description     string   `json:"description"`
	AssignedUserIDs []string `json:"assigned_user_ids"`
	CreatedByID     string   `json:"created_by_id"`
	Deadline        string   `json:"deadline"`
}

func main() {
	var in message
	var settings config
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		refuse("the payload is not what the plugin expects: " + err.Error())
	}
	if err := json.Unmarshal([]byte(os.Getenv("HOOKMILL_CONFIG")), &settings); err != nil {
		refuse("[config] in plugin.toml: " + err.Error())
	}
	if in.Spam {
		write(map[string]string{"skip": "spam"})
		return
	}
	write(task{
		Title:           "Message from " + or(in.From, "somebody"),
		Description:     in.Message,
		AssignedUserIDs: []string{settings.DefaultAssignee},
		CreatedByID:     os.Getenv("HOOKMILL_INTEGRATION"),
		// A date without a time is enough.
		Deadline: or(in.Due, os.Getenv("HOOKMILL_RECEIVED_AT")),
	})
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func write(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		refuse(err.Error())
	}
}

func refuse(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
