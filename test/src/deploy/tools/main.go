// Reads what is in deploy/ with the very libraries of Helm, Kubernetes, Docker Compose and BuildKit, and tells what they
// understood as JSON: what of these programs can run without a cluster and without a container engine.
//
//	deploy-tools chart <directory> <values.yaml>...    rendered objects, each decoded strictly by its Go type
//	deploy-tools compose <file> <profile>...           the project as `docker compose config` tells it
//	deploy-tools dockerfile <file>                     stages with their instructions
//	deploy-tools context <.dockerignore>               those of the paths on standard input that a build gets
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: deploy-tools chart|compose|dockerfile|context <path> …"))
	}
	commands := map[string]func(string, []string) (any, error){
		"chart": chart, "compose": compose, "dockerfile": dockerfile, "context": buildContext,
	}
	command := commands[os.Args[1]]
	if command == nil {
		fail(fmt.Errorf("%s is not a command", os.Args[1]))
	}
	told, err := command(os.Args[2], os.Args[3:])
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

type rendered struct {
	Notes   string            `json:"notes"`
	Objects []json.RawMessage `json:"objects"`
}

func chart(directory string, valuesFiles []string) (any, error) {
	loaded, err := loader.Load(directory)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for _, file := range valuesFiles {
		more, err := chartutil.ReadValuesFile(file)
		if err != nil {
			return nil, err
		}
		values = chartutil.CoalesceTables(more, values)
	}
	options := chartutil.ReleaseOptions{Name: "mill", Namespace: "iot", Revision: 1, IsInstall: true}
	// Checks the values by values.schema.json.
	all, err := chartutil.ToRenderValues(loaded, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := (engine.Engine{Strict: false}).Render(loaded, all)
	if err != nil {
		return nil, err
	}
	if err := monitoring.AddToScheme(scheme.Scheme); err != nil {
		return nil, err
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	result := rendered{Objects: []json.RawMessage{}}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if strings.HasSuffix(name, "NOTES.txt") {
			result.Notes = files[name]
			continue
		}
		objects, err := decode(decoder, files[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", name, err, files[name])
		}
		result.Objects = append(result.Objects, objects...)
	}
	return result, nil
}

// An unknown field, a field twice or a wrong type is an error, as with `kubectl apply --validate=strict`.
func decode(decoder runtime.Decoder, text string) ([]json.RawMessage, error) {
	var objects []json.RawMessage
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := documents.Read()
		if err == io.EOF {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		plain, err := yaml.ToJSON(document)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(bytes.TrimSpace(plain), []byte("null")) {
			continue
		}
		if _, _, err := decoder.Decode(document, nil, nil); err != nil {
			return nil, err
		}
		objects = append(objects, plain)
	}
}

func compose(file string, profiles []string) (any, error) {
	// No .env: the variables are the caller's.
	options, err := cli.NewProjectOptions([]string{file}, cli.WithOsEnv, cli.WithProfiles(profiles),
		cli.WithResolvedPaths(true), cli.WithNormalization(true), cli.WithConsistency(true))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

type stage struct {
	Name         string        `json:"name"`
	Base         string        `json:"base"`
	Instructions []instruction `json:"instructions"`
}
type instruction struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func dockerfile(file string, _ []string) (any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	warnings := []string{}
	for _, warning := range parsed.Warnings {
		warnings = append(warnings, warning.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		warnings = append(warnings, rule+": "+message)
	}})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		return nil, err
	}
	told := []stage{}
	for _, each := range stages {
		next := stage{Name: each.Name, Base: each.BaseName, Instructions: []instruction{}}
		for _, command := range each.Commands {
			next.Instructions = append(next.Instructions, instruction{command.Name(), fmt.Sprint(command)})
		}
		told = append(told, next)
	}
	return map[string]any{"stages": told, "warnings": warnings}, nil
}

func buildContext(file string, _ []string) (any, error) {
	text, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	patterns, err := ignorefile.ReadAll(text)
	if err != nil {
		return nil, err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	kept := []string{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		ignored, err := matcher.MatchesOrParentMatches(lines.Text())
		if err != nil {
			return nil, err
		}
		if !ignored {
			kept = append(kept, lines.Text())
		}
	}
	return kept, lines.Err()
}
