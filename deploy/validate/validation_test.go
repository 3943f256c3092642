package validate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install" // defaults and conversions, as the API server has them
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"
	"knative.dev/pkg/apis"
	knative "knative.dev/serving/pkg/apis/serving/v1"
)

// validate returns what the API server, or Knative's webhook, has against a new
// object, after it has set its defaults.
func validate(object metav1.Object) error {
	switch o := object.(type) {
	case *corev1.ConfigMap:
		return kubernetes(o, &core.ConfigMap{}, corevalidation.ValidateConfigMap)
	case *corev1.Service:
		return kubernetes(o, &core.Service{}, corevalidation.ValidateServiceCreate)
	case *appsv1.Deployment:
		return kubernetes(o, &apps.Deployment{}, func(d *apps.Deployment) field.ErrorList {
			return appsvalidation.ValidateDeployment(d, podutil.GetValidationOptionsFromPodTemplate(&d.Spec.Template, nil))
		})
	case *appsv1.StatefulSet:
		return kubernetes(o, &apps.StatefulSet{}, func(s *apps.StatefulSet) field.ErrorList {
			return appsvalidation.ValidateStatefulSet(s, podutil.GetValidationOptionsFromPodTemplate(&s.Spec.Template, nil))
		})
	case *policyv1.PodDisruptionBudget:
		return kubernetes(o, &policy.PodDisruptionBudget{}, func(p *policy.PodDisruptionBudget) field.ErrorList {
			return policyvalidation.ValidatePodDisruptionBudget(p, policyvalidation.PodDisruptionBudgetValidationOptions{})
		})
	case *networkingv1.NetworkPolicy:
		return kubernetes(o, &networking.NetworkPolicy{}, func(n *networking.NetworkPolicy) field.ErrorList {
			return networkingvalidation.ValidateNetworkPolicy(n, networkingvalidation.NetworkPolicyValidationOptions{})
		})
	case *knative.Service:
		ctx := apis.WithinCreate(context.Background())
		o.SetDefaults(ctx)
		if err := o.Validate(ctx); err != nil {
			return err
		}
		return nil
	}
	return fmt.Errorf("no validation for a %T", object)
}

// kubernetes sets the defaults of the object, converts it as the API server does,
// and validates it.
func kubernetes[T metav1.Object](object runtime.Object, internal T, check func(T) field.ErrorList) error {
	legacyscheme.Scheme.Default(object)
	if err := legacyscheme.Scheme.Convert(object, internal, nil); err != nil {
		return err
	}
	internal.SetNamespace("default") // the request would bring it
	return check(internal).ToAggregate()
}

func TestKubernetesAndKnativeTakeTheManifests(t *testing.T) {
	for _, set := range sets {
		for _, object := range objects(t, set) {
			if err := validate(object); err != nil {
				t.Errorf("%s: %T %s: %v", set, object, object.GetName(), err)
			}
		}
	}
}

// TestPodsAreRestricted: they may run where Kubernetes enforces the strictest of its
// Pod Security Standards.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, set := range sets {
		for _, p := range pods(objects(t, set)) {
			for _, result := range evaluator.EvaluatePod(restricted, &p.meta, &p.spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s: %s", set, p.owner, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
		}
	}
}

// TestFaultsAreFound plants faults that a person may make.
func TestFaultsAreFound(t *testing.T) {
	for _, fault := range []struct{ file, is, becomes, says string }{
		{"kubernetes/yaml/candado.yaml", "readinessProbe:", "readinessProb:", "unknown field"},
		{"kubernetes/yaml/candado.yaml", "  replicas: 2\n", "  replicas: 2\n  replicas: 3\n", "already set"},
		{"kubernetes/yaml/candado.yaml", "replicas: 2", "replicas: -2", "must be greater than or equal to 0"},
		{"kubernetes/yaml/candado.yaml", "maxSurge: 1", "maxSurge: 0", "may not be 0 when `maxSurge` is 0"},
		{"kubernetes/yaml/candado.yaml", "mountPath: /etc/candado", "mountPath: ''", "Required value"},
		{"kubernetes/yaml/candado.yaml", "- name: secret\n              mountPath", "- name: secrets\n              mountPath", "Not found"},
		{"kubernetes/yaml/candado.yaml", "      app.kubernetes.io/component: server\n  template", "      app.kubernetes.io/component: servers\n  template", "does not match template"},
		{"kubernetes/yaml/candado.yaml", "targetPort: resp", "targetPort: the_port", "targetPort"},
		{"kubernetes/yaml/candado.yaml", "memory: 512Mi", "memory: 128Mi", "must be less than or equal to memory limit"},
		{"kubernetes/yaml/candado.yaml", "failureThreshold: 600", "failureThreshold: -1", "greater than or equal to 0"},
		{"kubernetes/yaml/candado.yaml", "seconds: 5", "seconds: 31", "less than terminationGracePeriodSeconds"},
		{"kubernetes/yaml/candado.yaml", "unhealthyPodEvictionPolicy: AlwaysAllow", "unhealthyPodEvictionPolicy: Always", "Unsupported value"},
		{"kubernetes/yaml/candado.yaml", "protocol: UDP", "protocol: UPD", "Unsupported value"},
		{"kubernetes/yaml/redis.yaml", "serviceName: candado-redis", "serviceName: Candado_Redis", "Invalid value"},
		{"kubernetes/yaml/redis.yaml", "storage: 4Gi", "storage: -4Gi", "must be greater than zero"},
		{"kubernetes/yaml/redis.yaml", "defaultMode: 0440", "defaultMode: 4000", "must be a number between 0 and 0777"},
		{"knative/yaml/candado.yaml", "timeoutSeconds: 600\n      response", "timeoutSeconds: 601\n      response", "expected 0 <= 601 <= 600"},
		{"knative/yaml/candado.yaml", "containerConcurrency: 0", "containerConcurrency: -5", "containerConcurrency"},
		{"knative/yaml/candado.yaml", `min-scale: "1"`, `min-scale: "x1"`, "min-scale"},
		{"knative/yaml/candado.yaml", `max-scale: "5"`, `max-scale: "0.5"`, "max-scale"},
		{"knative/yaml/candado.yaml", "scale-down-delay: 10m", "scale-down-delay: 2h", "scale-down-delay"},
		{"knative/yaml/candado.yaml", "name: http1", "name: http", "Port name http is not allowed"},
		{"knative/yaml/candado.yaml", "- name: CANDADO_HTTP", "- name: PORT", "reserved environment variable"},
		{"knative/yaml/candado.yaml", "          livenessProbe:", "          lifecycle: {preStop: {sleep: {seconds: 1}}}\n          livenessProbe:", "must not set the field"},
	} {
		t.Run(fault.becomes, func(t *testing.T) {
			text := read(t, "../"+fault.file)
			if !strings.Contains(text, fault.is) {
				t.Fatalf("%s has no %q", fault.file, fault.is)
			}
			all, err := decode(strings.Replace(text, fault.is, fault.becomes, 1))
			for _, object := range all {
				if err == nil {
					err = validate(object)
				}
			}
			if err == nil || !strings.Contains(err.Error(), fault.says) {
				t.Errorf("found: %v; want %q", err, fault.says)
			}
		})
	}
}
