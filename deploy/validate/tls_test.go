package validate_test

import (
	"encoding/json"
	"path"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// withTLS returns candado's Deployment as kubernetes-tls makes it of kubernetes'.
func withTLS(t *testing.T) *appsv1.Deployment {
	t.Helper()
	var how struct {
		Resources []string
		Patches   []struct{ Path string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "../kubernetes-tls/kustomization.yaml")), &how); err != nil {
		t.Fatal(err)
	}
	if len(how.Patches) != 1 || !slices.Equal(how.Resources, []string{"../kubernetes"}) {
		t.Fatalf("kubernetes-tls is %+v", how)
	}
	text := read(t, path.Join("../kubernetes-tls", how.Patches[0].Path))
	if _, err := decode(text); err != nil {
		t.Fatal(err)
	}
	var patch, merged map[string]any
	if err := yaml.Unmarshal([]byte(text), &patch); err != nil {
		t.Fatal(err)
	}
	base, err := json.Marshal(of[*appsv1.Deployment](objects(t, "kubernetes"))[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(base, &merged); err != nil {
		t.Fatal(err)
	}
	if base, err = json.Marshal(merge(merged, patch)); err != nil {
		t.Fatal(err)
	}
	d := new(appsv1.Deployment)
	if err := yaml.UnmarshalStrict(base, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// merge returns what a patch makes of a value, as kustomize does with the lists of a
// pod: objects are of one name, or mounted at one path.
func merge(old, patch any) any {
	switch patch := patch.(type) {
	case map[string]any:
		if old, ok := old.(map[string]any); ok {
			for key, value := range patch {
				old[key] = merge(old[key], value)
			}
			return old
		}
	case []any:
		list, _ := old.([]any)
		for _, value := range patch {
			i := slices.IndexFunc(list, func(other any) bool { return identity(other) == identity(value) })
			if i < 0 {
				list = append(list, value)
				continue
			}
			list[i] = merge(list[i], value)
		}
		return list
	}
	return patch
}

func identity(object any) any {
	fields, _ := object.(map[string]any)
	if at, ok := fields["mountPath"]; ok {
		return at
	}
	return fields["name"]
}

func TestKubernetesTakesTheManifestsWithTLS(t *testing.T) {
	if err := validate(withTLS(t)); err != nil {
		t.Error(err)
	}
}

// TestTLSChangesAllThatItMust: a probe that speaks plainly to a port with TLS would
// have each pod killed.
func TestTLSChangesAllThatItMust(t *testing.T) {
	before := of[*appsv1.Deployment](objects(t, "kubernetes"))[0].Spec.Template.Spec
	d := withTLS(t)
	pod := d.Spec.Template.Spec
	if len(pod.Containers) != 1 || pod.Containers[0].Image == "" || len(pod.Volumes) != len(before.Volumes)+1 {
		t.Fatalf("the patch adds instead of changing: %d containers, %d volumes", len(pod.Containers), len(pod.Volumes))
	}
	c := pod.Containers[0]
	for name, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if probe.HTTPGet.Scheme != corev1.URISchemeHTTPS || probe.HTTPGet.Path == "" {
			t.Errorf("%s asks %+v", name, probe.HTTPGet)
		}
	}
	if d.Spec.Template.Annotations["prometheus.io/scheme"] != "https" || d.Spec.Template.Annotations["prometheus.io/port"] == "" {
		t.Errorf("Prometheus is told %v", d.Spec.Template.Annotations)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	for name, key := range map[string]string{"CANDADO_TLS_CERT": corev1.TLSCertKey, "CANDADO_TLS_KEY": corev1.TLSPrivateKeyKey} {
		dir, file := path.Split(env[name])
		mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.MountPath == path.Clean(dir) && m.SubPath == "" && slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
				return v.Name == m.Name && v.Secret != nil && v.Secret.SecretName == "candado-tls"
			})
		})
		if !mounted || file != key {
			t.Errorf("%s is %s, which is not mounted", name, env[name])
		}
	}
}
