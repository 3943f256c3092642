// Package validate_test reads the manifests as Kubernetes and Knative do, strictly,
// and runs their own validation; and the rules and the dashboard as Prometheus does,
// against what a candado of this tree measures.
package validate_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	knative "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

// kinds makes an empty object of each kind that our manifests may hold.
var kinds = map[string]func() metav1.Object{
	"v1/ConfigMap":                       func() metav1.Object { return &corev1.ConfigMap{} },
	"v1/Service":                         func() metav1.Object { return &corev1.Service{} },
	"apps/v1/Deployment":                 func() metav1.Object { return &appsv1.Deployment{} },
	"apps/v1/StatefulSet":                func() metav1.Object { return &appsv1.StatefulSet{} },
	"policy/v1/PodDisruptionBudget":      func() metav1.Object { return &policyv1.PodDisruptionBudget{} },
	"networking.k8s.io/v1/NetworkPolicy": func() metav1.Object { return &networkingv1.NetworkPolicy{} },
	"serving.knative.dev/v1/Service":     func() metav1.Object { return &knative.Service{} },
}

// sets are the directories that are applied, each as a whole.
var sets = []string{"kubernetes", "knative"}

// files returns the names of a set's manifests.
func files(t *testing.T, set string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", set, "yaml", "*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no manifests (%v)", set, err)
	}
	return names
}

// objects returns the objects of a set, decoded strictly.
func objects(t *testing.T, set string) []metav1.Object {
	t.Helper()
	var all []metav1.Object
	for _, name := range files(t, set) {
		found, err := decode(read(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, found...)
	}
	return all
}

// read returns a file.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// decode reads the documents of a manifest. A key that the type does not have, or
// that stands there twice, is an error.
func decode(text string) ([]metav1.Object, error) {
	var all []metav1.Object
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		var header metav1.TypeMeta
		if err := yaml.Unmarshal(document, &header); err != nil {
			return nil, err
		}
		kind := header.APIVersion + "/" + header.Kind
		if kinds[kind] == nil {
			return nil, fmt.Errorf("a %s is none of what the tests know", kind)
		}
		object := kinds[kind]()
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		all = append(all, object)
	}
}

// of returns the objects of a type.
func of[T metav1.Object](all []metav1.Object) []T {
	var found []T
	for _, object := range all {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// pod is what a manifest says of pods, whatever makes them.
type pod struct {
	owner string
	meta  metav1.ObjectMeta
	spec  corev1.PodSpec
}

// pods returns the pods of a set.
func pods(all []metav1.Object) []pod {
	var found []pod
	for _, object := range all {
		switch o := object.(type) {
		case *appsv1.Deployment:
			found = append(found, pod{"Deployment " + o.Name, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec})
		case *appsv1.StatefulSet:
			found = append(found, pod{"StatefulSet " + o.Name, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec})
		case *knative.Service:
			found = append(found, pod{"Knative Service " + o.Name, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec.PodSpec})
		}
	}
	return found
}

func TestBothSetsHaveTheSameRedis(t *testing.T) {
	if !bytes.Equal([]byte(read(t, "../kubernetes/yaml/redis.yaml")), []byte(read(t, "../knative/yaml/redis.yaml"))) {
		t.Error("redis.yaml differs between kubernetes and knative: who applies both would change it to and fro")
	}
}

// TestSetsHoldWhatIsPromised: a kind that is missing would not be missed by any
// test of the objects that are there.
func TestSetsHoldWhatIsPromised(t *testing.T) {
	for set, want := range map[string]map[string]int{
		"kubernetes": {"*v1.Deployment": 1, "*v1.StatefulSet": 1, "*v1.PodDisruptionBudget": 1, "*v1.NetworkPolicy": 2, "*v1.ConfigMap": 1},
		"knative":    {"*v1.StatefulSet": 1, "*v1.NetworkPolicy": 1, "*v1.ConfigMap": 1},
	} {
		got := map[string]int{}
		for _, object := range objects(t, set) {
			got[fmt.Sprintf("%T", object)]++
		}
		for kind, n := range want {
			if got[kind] != n {
				t.Errorf("%s has %d of %s, want %d", set, got[kind], kind, n)
			}
		}
	}
	if n := len(of[*knative.Service](objects(t, "knative"))); n != 1 {
		t.Errorf("%d Knative Services", n)
	}
}
