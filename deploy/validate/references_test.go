package validate_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
	knative "knative.dev/serving/pkg/apis/serving/v1"
)

// This file holds together what one object says of another: no validation sees that.

// selected returns the pods of a set that a selector means.
func selected(all []pod, selector labels.Selector) []pod {
	return slices.DeleteFunc(slices.Clone(all), func(p pod) bool { return !selector.Matches(labels.Set(p.meta.Labels)) })
}

// hasPort reports whether a container of the pod has the port, by its name or number.
func (p pod) hasPort(port intstr.IntOrString) bool {
	for _, c := range p.spec.Containers {
		for _, has := range c.Ports {
			if port.Type == intstr.String && has.Name == port.StrVal || port.Type == intstr.Int && has.ContainerPort == port.IntVal {
				return true
			}
		}
	}
	return false
}

func TestServicesReachAPortOfTheirPods(t *testing.T) {
	for _, set := range sets {
		all := objects(t, set)
		for _, service := range of[*corev1.Service](all) {
			// One kind of pod: requests must not go to two that differ.
			found := selected(pods(all), labels.SelectorFromSet(service.Spec.Selector))
			if len(found) != 1 {
				t.Errorf("%s: Service %s selects %d kinds of pods", set, service.Name, len(found))
			}
			for _, p := range found {
				for _, port := range service.Spec.Ports {
					if !p.hasPort(port.TargetPort) {
						t.Errorf("%s: Service %s leads to %s, which %s does not have", set, service.Name, port.TargetPort.String(), p.owner)
					}
				}
			}
		}
	}
}

func TestNetworkPoliciesLetThroughWhatIsNeededAndNoMore(t *testing.T) {
	for _, set := range sets {
		all := objects(t, set)
		covered := map[string]bool{}
		for _, p := range of[*networkingv1.NetworkPolicy](all) {
			subjects := selected(pods(all), mustSelector(t, &p.Spec.PodSelector))
			if len(subjects) != 1 {
				t.Errorf("%s: NetworkPolicy %s selects %d kinds of pods", set, p.Name, len(subjects))
				continue
			}
			covered[subjects[0].owner] = true
			for _, rule := range p.Spec.Ingress {
				for _, port := range rule.Ports {
					if !subjects[0].hasPort(*port.Port) {
						t.Errorf("%s: NetworkPolicy %s opens %s, which %s does not have", set, p.Name, port.Port, subjects[0].owner)
					}
				}
			}
		}
		if !covered["StatefulSet candado-redis"] || set == "kubernetes" && !covered["Deployment candado"] {
			t.Errorf("%s: NetworkPolicies cover %v", set, covered)
		}
	}
}

// TestOnlyCandadoReachesRedis: every candado, of either set, and nothing else.
func TestOnlyCandadoReachesRedis(t *testing.T) {
	for _, set := range sets {
		all := objects(t, set)
		for _, p := range of[*networkingv1.NetworkPolicy](all) {
			if p.Name != "candado-redis" {
				continue
			}
			if len(p.Spec.Ingress) != 1 || len(p.Spec.Ingress[0].From) != 1 || len(p.Spec.Ingress[0].Ports) != 1 || len(p.Spec.Egress) != 0 ||
				p.Spec.Ingress[0].From[0].PodSelector == nil || p.Spec.Ingress[0].From[0].NamespaceSelector != nil {
				t.Fatalf("%s: %+v", set, p.Spec)
			}
			let := selected(pods(all), mustSelector(t, p.Spec.Ingress[0].From[0].PodSelector))
			if len(let) != 1 || let[0].spec.Containers[0].Name != "candado" {
				t.Errorf("%s: Redis lets in %+v", set, let)
			}
		}
	}
}

func mustSelector(t *testing.T, s *metav1.LabelSelector) labels.Selector {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector
}

func TestBudgetCoversTheDeployment(t *testing.T) {
	all := objects(t, "kubernetes")
	budget := of[*policyv1.PodDisruptionBudget](all)[0]
	deployment := of[*appsv1.Deployment](all)[0]
	if !maps.Equal(budget.Spec.Selector.MatchLabels, deployment.Spec.Selector.MatchLabels) {
		t.Errorf("the budget selects %v, the Deployment %v", budget.Spec.Selector.MatchLabels, deployment.Spec.Selector.MatchLabels)
	}
	if n := *deployment.Spec.Replicas; n < 2 || int(n) <= budget.Spec.MaxUnavailable.IntValue() {
		t.Errorf("%d replicas, of which %v may go at once", n, budget.Spec.MaxUnavailable)
	}
	for _, c := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
		if !maps.Equal(c.LabelSelector.MatchLabels, deployment.Spec.Selector.MatchLabels) {
			t.Errorf("pods are spread over %s by %v", c.TopologyKey, c.LabelSelector.MatchLabels)
		}
	}
}

// secretCommand is the command that makes the Secret, as each place that shows it has it.
var secretCommand = regexp.MustCompile(`kubectl create secret generic (\S+)((?:.*\\\n)*.*)`)

// TestEverySecretIsMadeByTheCommandThatIsShown: and none is in the manifests.
func TestEverySecretIsMadeByTheCommandThatIsShown(t *testing.T) {
	literal := regexp.MustCompile(`--from-literal=([a-z-]+)="\$\(openssl rand -hex 32\)"`)
	made := map[string][]string{}
	for _, file := range []string{"../kubernetes/yaml/candado.yaml", "../knative/yaml/candado.yaml", "../README.md"} {
		shown := secretCommand.FindStringSubmatch(read(t, file))
		if shown == nil {
			t.Fatalf("%s does not show how to make the Secret", file)
		}
		var keys []string
		for _, m := range literal.FindAllStringSubmatch(shown[2], -1) {
			keys = append(keys, m[1])
		}
		if before, ok := made[shown[1]]; ok && !slices.Equal(before, keys) {
			t.Errorf("%s makes %q, others %q", file, keys, before)
		}
		made[shown[1]] = keys
	}
	for _, set := range sets {
		for _, p := range pods(objects(t, set)) {
			for _, v := range p.spec.Volumes {
				if v.Secret == nil {
					continue
				}
				keys := made[v.Secret.SecretName]
				if keys == nil {
					t.Errorf("%s: %s needs a Secret %s, which nobody makes", set, p.owner, v.Secret.SecretName)
				}
				for _, item := range v.Secret.Items {
					if !slices.Contains(keys, item.Key) {
						t.Errorf("%s: %s needs the key %s of the Secret, which has %q", set, p.owner, item.Key, keys)
					}
				}
			}
			for _, path := range secretPaths(p) {
				if key := strings.TrimPrefix(path, "/etc/candado/"); !slices.Contains(made["candado"], key) {
					t.Errorf("%s: %s reads %s, and the Secret has %q", set, p.owner, path, made["candado"])
				}
			}
		}
	}
}

// secretPaths returns the files below the Secret's mount that a pod names.
func secretPaths(p pod) []string {
	var text []string
	for _, c := range p.spec.Containers {
		for _, e := range c.Env {
			text = append(text, e.Value)
		}
		text = append(append(text, c.Command...), c.Args...)
	}
	return regexp.MustCompile(`/etc/candado/[a-z-]+`).FindAllString(strings.Join(text, "\n"), -1)
}

// TestShellIsLeftToTheShell: Kubernetes replaces $(NAME) in commands, too.
func TestShellIsLeftToTheShell(t *testing.T) {
	for _, set := range sets {
		for _, p := range pods(objects(t, set)) {
			for _, c := range p.spec.Containers {
				variables := map[string]string{}
				for _, e := range c.Env {
					variables[e.Name] = e.Value
				}
				for _, word := range append(slices.Clone(c.Command), c.Args...) {
					if got := expansion.Expand(word, expansion.MappingFuncFor(variables)); got != word {
						t.Errorf("%s: %s: Kubernetes makes %q of %q", set, p.owner, got, word)
					}
				}
			}
		}
	}
}

func TestConfigMapsThatAreMountedExist(t *testing.T) {
	for _, set := range sets {
		all := objects(t, set)
		for _, p := range pods(all) {
			for _, v := range p.spec.Volumes {
				if v.ConfigMap != nil && !slices.ContainsFunc(of[*corev1.ConfigMap](all), func(c *corev1.ConfigMap) bool { return c.Name == v.ConfigMap.Name }) {
					t.Errorf("%s: %s mounts the ConfigMap %s, which is not there", set, p.owner, v.ConfigMap.Name)
				}
			}
		}
	}
}

// env returns the value of a container's variable.
func env(t *testing.T, c corev1.Container, name string) string {
	t.Helper()
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	t.Fatalf("%s has no %s", c.Name, name)
	return ""
}

// candado returns the container that is candado, of each set.
func candado(t *testing.T) map[string]corev1.Container {
	t.Helper()
	found := map[string]corev1.Container{}
	for _, set := range sets {
		for _, p := range pods(objects(t, set)) {
			if c := p.spec.Containers[0]; c.Name == "candado" {
				found[set] = c
			}
		}
	}
	if len(found) != len(sets) {
		t.Fatalf("candado is in %d sets", len(found))
	}
	return found
}

func TestMemoryFits(t *testing.T) {
	for set, c := range candado(t) {
		soft := resource.MustParse(strings.TrimSuffix(env(t, c, "GOMEMLIMIT"), "B"))
		if hard := c.Resources.Limits.Memory(); soft.Cmp(*hard) >= 0 {
			t.Errorf("%s: GOMEMLIMIT %v, limit %v", set, &soft, hard)
		}
	}
	all := objects(t, "kubernetes")
	most := regexp.MustCompile(`(?m)^maxmemory (\d+)mb$`).FindStringSubmatch(of[*corev1.ConfigMap](all)[0].Data["redis.conf"])
	limit := of[*appsv1.StatefulSet](all)[0].Spec.Template.Spec.Containers[0].Resources.Limits.Memory()
	if twice := resource.MustParse(most[1] + "Mi"); 2*twice.Value() > limit.Value() {
		t.Errorf("maxmemory %v, limit %v", &twice, limit)
	}
}

// TestPodsLiveByHealthzAndBeginToServeByReadyz: no restart helps a Redis that is down, and
// who can't connect can't release what a full one lets him.
func TestPodsLiveByHealthzAndBeginToServeByReadyz(t *testing.T) {
	containers := candado(t)
	for set, c := range containers {
		if c.LivenessProbe.HTTPGet.Path != "/healthz" {
			t.Errorf("%s: liveness %s", set, c.LivenessProbe.HTTPGet.Path)
		}
	}
	c := containers["kubernetes"]
	if c.StartupProbe.HTTPGet.Path != "/readyz" || c.ReadinessProbe.HTTPGet.Path != "/healthz" {
		t.Errorf("start-up %s, readiness %s", c.StartupProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path)
	}
	// Knative's activator keeps requests until a pod is ready.
	if c := containers["knative"]; c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("readiness on Knative: %s", c.ReadinessProbe.HTTPGet.Path)
	}
}

func TestDeploymentDrains(t *testing.T) {
	deployment := of[*appsv1.Deployment](objects(t, "kubernetes"))[0]
	spec := deployment.Spec.Template.Spec
	drain, err := time.ParseDuration(env(t, spec.Containers[0], "CANDADO_DRAIN_TIMEOUT"))
	if err != nil {
		t.Fatal(err)
	}
	before := time.Duration(spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if killed := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; before <= 0 || killed <= before+drain {
		t.Errorf("it sleeps for %v, drains for %v, and is killed after %v", before, drain, killed)
	}
	if apart := time.Duration(deployment.Spec.MinReadySeconds) * time.Second; apart < drain {
		t.Errorf("the next pod goes %v after the last came, while another drains for %v", apart, drain)
	}
	if r := deployment.Spec.Strategy.RollingUpdate; r.MaxUnavailable.IntValue() != 0 || r.MaxSurge.IntValue() < 1 {
		t.Errorf("a rollout: %+v", r)
	}
}

func TestKnativeFitsLongPolls(t *testing.T) {
	spec := of[*knative.Service](objects(t, "knative"))[0].Spec.Template.Spec
	// A limit would let a release queue behind those who wait for it.
	if *spec.ContainerConcurrency != 0 {
		t.Errorf("containerConcurrency %d", *spec.ContainerConcurrency)
	}
	if *spec.ResponseStartTimeoutSeconds != *spec.TimeoutSeconds {
		t.Errorf("a request may take %d s, and %d s until its first byte", *spec.TimeoutSeconds, *spec.ResponseStartTimeoutSeconds)
	}
	said := regexp.MustCompile("`wait=(\\w+)` at most").FindStringSubmatch(read(t, "../README.md"))
	if said == nil {
		t.Fatal("the README does not say how long to wait at most")
	}
	if longest, err := time.ParseDuration(said[1]); err != nil || longest >= time.Duration(*spec.TimeoutSeconds)*time.Second {
		t.Errorf("the README allows waits of %s (%v), Knative ends requests after %d s", said[1], err, *spec.TimeoutSeconds)
	}
}
