import { loadConfig } from '@millrace/app/config';
import { beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { ask, BUILD_MS_MAX, buildDeployTools, filesOf, missingDeployTools, type Told, withFile } from './tools.ts';

const CHART = new URL('../../../deploy/helm/millrace', import.meta.url).pathname;
const EXAMPLES = filesOf('deploy/helm/millrace/ci').map((path) => path.slice('deploy/helm/millrace/'.length));
const MINIMAL = `${CHART}/ci/minimal-values.yaml`;
const FULL = `${CHART}/ci/full-values.yaml`;

interface KubernetesObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Record<string, string> };
  // biome-ignore lint/suspicious/noExplicitAny: its type was checked by Kubernetes' own
  readonly [field: string]: any;
}
interface Rendered {
  readonly notes: string;
  readonly objects: readonly KubernetesObject[];
}
interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly secretKeyRef: { readonly key: string } };
}
/** What a Secret that is there already would have. */
const OWN_SECRET: Readonly<Record<string, string>> = {
  secret: '00'.repeat(32),
  'postgres-url': 'postgres://millrace:example@postgres:5432/millrace',
  'clickhouse-url': 'http://millrace:example@clickhouse:8123',
  'admin-password': 'example-admin',
};
type Labels = Readonly<Record<string, string>>;

const render = (...files: readonly string[]): Told<Rendered> => ask<Rendered>(['chart', CHART, ...files]);
const renderWith = (values: unknown, base = MINIMAL): Told<Rendered> =>
  withFile('values.yaml', stringify(values), (file) => render(base, file));
const objects = (told: Told<Rendered>): readonly KubernetesObject[] => {
  if (told.value === null) throw new Error(told.problem);
  return told.value.objects;
};
const ofKind = (all: readonly KubernetesObject[], kind: string): KubernetesObject[] =>
  all.filter((object) => object.kind === kind);
const workloads = (all: readonly KubernetesObject[]): KubernetesObject[] =>
  all.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
const matches = (selector: Labels, labels: Labels): boolean =>
  Object.entries(selector).every(([name, value]) => labels[name] === value);

describe.skipIf(missingDeployTools !== null)(
  `the chart${missingDeployTools === null ? '' : ` (${missingDeployTools})`}`,
  () => {
    beforeAll(buildDeployTools, BUILD_MS_MAX);

    describe.each(EXAMPLES)('with %s', (example) => {
      let all: readonly KubernetesObject[] = [];
      beforeAll(() => {
        // Unknown fields and wrong types are refused by the types of Kubernetes here.
        all = objects(render(`${CHART}/${example}`));
      });

      test('has nodes that may do nothing but their work', () => {
        expect(workloads(all).length).toBeGreaterThan(1);
        for (const { metadata, spec } of workloads(all)) {
          const pod = spec.template.spec;
          expect(pod.automountServiceAccountToken, metadata.name).toBe(false);
          expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
          expect(pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC).toBeUndefined();
          for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) {
            expect(container.securityContext).toEqual({
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              runAsNonRoot: true,
              capabilities: { drop: ['ALL'] },
            });
            expect(container.image).toMatch(/:[^:/]+$/);
            expect(container.image).not.toMatch(/:latest$/);
          }
        }
      });

      test('has probes, limits, and time for the drain', () => {
        for (const { spec } of workloads(all)) {
          const pod = spec.template.spec;
          const settings = ofKind(all, 'ConfigMap')[0]?.data ?? {};
          for (const { startupProbe, livenessProbe, readinessProbe, resources, lifecycle } of pod.containers) {
            // A node that waits for an engine lives: it must not be started again for that.
            expect(startupProbe.httpGet.path).toBe('/health/live');
            expect(livenessProbe.httpGet.path).toBe('/health/live');
            expect(readinessProbe.httpGet.path).toMatch(/^\/health\/ready(\?exclude=[a-z,]+)?$/);
            expect(resources.limits.memory).toBeTruthy();
            expect(resources.requests.cpu).toBeTruthy();
            const [program, seconds] = lifecycle.preStop.exec.command;
            expect(program).toBe('sleep');
            const needed = Number(seconds) + Number(settings.MILLRACE_DRAIN_MS_MAX) / 1_000;
            expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(needed);
          }
        }
      });

      test('spreads each role over zones and hosts, and keeps some of it through disruptions', () => {
        for (const { spec } of workloads(all)) {
          const labels = spec.template.metadata.labels;
          expect(matches(spec.selector.matchLabels, labels)).toBe(true);
          for (const { labelSelector } of spec.template.spec.topologySpreadConstraints)
            expect(matches(labelSelector.matchLabels, labels)).toBe(true);
          const budgets = ofKind(all, 'PodDisruptionBudget').filter((budget) =>
            matches(budget.spec.selector.matchLabels, labels),
          );
          // Two budgets for one pod, and nobody may evict it.
          expect(budgets).toHaveLength(1);
        }
      });

      test('gives each node settings that it understands, and the files that these name', () => {
        const made = ofKind(all, 'Secret')[0]?.stringData ?? OWN_SECRET;
        for (const { spec } of workloads(all)) {
          const [{ env, envFrom, volumeMounts }] = spec.template.spec.containers;
          expect(envFrom).toEqual([{ configMapRef: { name: ofKind(all, 'ConfigMap')[0]?.metadata.name } }]);
          const own = (env as readonly Variable[]).map(({ name, value, valueFrom }) => [
            name,
            value ?? made[valueFrom?.secretKeyRef.key ?? ''],
          ]);
          for (const [name, value] of own) expect(value, String(name)).toBeTruthy();
          const environment: Labels = { ...ofKind(all, 'ConfigMap')[0]?.data, ...Object.fromEntries(own) };
          const config = loadConfig(environment);
          expect(config.log.MILLRACE_KAFKA_BROKERS).toBeTruthy();
          for (const value of Object.values(environment)) {
            if (!value.startsWith('/')) continue;
            const mounted = volumeMounts.some(({ mountPath }: { mountPath: string }) => value.startsWith(mountPath));
            expect(mounted, value).toBe(true);
          }
          if (config.mqtt.MILLRACE_MQTTS_PORT === 8883 && config.node.MILLRACE_ROLES.includes('ingest'))
            expect(config.mqtt.MILLRACE_MQTT_TLS_CERT).not.toBe('');
        }
      });

      test('selects pods with each service, and names ports that they have', () => {
        for (const { metadata, spec } of ofKind(all, 'Service')) {
          const selected = workloads(all).filter((workload) =>
            matches(spec.selector, workload.spec.template.metadata.labels),
          );
          expect(selected, metadata.name).toHaveLength(1);
          const ports = selected[0]?.spec.template.spec.containers[0].ports.map(({ name }: { name: string }) => name);
          for (const { targetPort } of spec.ports) expect(ports).toContain(targetPort);
        }
      });

      test('says no secret in a ConfigMap, in a pod or in the notes', () => {
        const hidden = ofKind(all, 'Secret').flatMap(({ stringData }) => Object.values(stringData as Labels));
        const told =
          JSON.stringify(all.filter(({ kind }) => kind !== 'Secret')) +
          (render(`${CHART}/${example}`).value?.notes ?? '');
        for (const secret of hidden) expect(told).not.toContain(secret);
        expect(told).not.toMatch(/:\/\/[^/"]*:[^/"]*@/);
        for (const { spec } of workloads(all))
          for (const { name, value } of spec.template.spec.containers[0].env)
            if (/SECRET|PASSWORD|_(POSTGRES|CLICKHOUSE|REDIS|SMTP)_URL/.test(name)) expect(value, name).toBeUndefined();
      });
    });

    test('lets nothing in or out of a pod that no rule names', () => {
      for (const file of [MINIMAL, FULL]) {
        const all = objects(render(file));
        for (const { spec } of workloads(all)) {
          const policies = ofKind(all, 'NetworkPolicy').filter((policy) =>
            matches(policy.spec.podSelector.matchLabels, spec.template.metadata.labels),
          );
          const types = policies.flatMap((policy) => policy.spec.policyTypes);
          expect(types).toEqual(expect.arrayContaining(['Ingress', 'Egress']));
          for (const policy of policies)
            for (const rule of policy.spec.egress ?? []) expect(rule.ports?.length).toBeGreaterThan(0);
          for (const policy of policies)
            for (const rule of policy.spec.ingress ?? []) expect(rule.ports?.length).toBeGreaterThan(0);
        }
      }
    });

    test('keeps nodes that take messages in service while the store and the registry are away', () => {
      const ingest = workloads(objects(render(MINIMAL))).find(({ kind }) => kind === 'StatefulSet');
      expect(ingest?.spec.template.spec.containers[0].readinessProbe.httpGet.path).toBe(
        '/health/ready?exclude=store,registry,postgres',
      );
    });

    test('scales processors by lag, and leaves the count to the autoscaler', () => {
      const all = objects(render(FULL));
      const scaler = ofKind(all, 'HorizontalPodAutoscaler').find(({ metadata }) =>
        metadata.name.endsWith('-processors'),
      );
      expect(scaler?.spec.metrics[0].external).toMatchObject({
        metric: { name: 'millrace_log_lag_messages', selector: { matchLabels: { group: 'processors' } } },
        target: { type: 'AverageValue', averageValue: '100000' },
      });
      for (const { spec } of ofKind(all, 'HorizontalPodAutoscaler')) {
        const target = workloads(all).find(
          ({ metadata, kind }) => metadata.name === spec.scaleTargetRef.name && kind === spec.scaleTargetRef.kind,
        );
        expect(target).toBeDefined();
        expect(target?.spec.replicas).toBeUndefined();
      }
      expect(objects(render(MINIMAL)).some(({ kind }) => kind === 'HorizontalPodAutoscaler')).toBe(false);
    });

    test('starts pods anew when a setting changes, and only then', () => {
      const marks = (told: Told<Rendered>): string[] =>
        workloads(objects(told)).map(({ spec }) => spec.template.metadata.annotations['millrace/settings']);
      const before = marks(render(MINIMAL));
      expect(marks(renderWith({ image: { pullPolicy: 'Always' } }))).toEqual(before);
      expect(marks(renderWith({ settings: { MILLRACE_LOG_LEVEL: 'debug' } }))[0]).not.toBe(before[0]);
    });

    test.each([
      ['no image', { image: { repository: '' } }, 'image.repository is needed'],
      ['no brokers', { kafka: { brokers: '' } }, 'kafka.brokers is needed'],
      ['no secret', { existingSecret: '' }, 'existingSecret is needed'],
      ['the image latest', { image: { tag: 'latest' } }, "'not' failed"],
      ['a secret among settings', { settings: { MILLRACE_SECRET: 'ab' } }, "'not' failed"],
      ['a password in a role’s settings', { ingest: { settings: { MILLRACE_ADMIN_PASSWORD: 'x' } } }, "'not' failed"],
      ['a misspelt value', { ingest: { replica: 3 } }, 'replica'],
      ['nobody for the control plane', { ingest: { roles: 'ingest' }, registry: { replicas: 0 } }, 'nobody answers'],
      ['MQTT without a port', { mqtt: { plaintext: false } }, 'mqtt.tlsSecretName'],
      ['two kinds of secrets', { secretValues: { 'admin-password': 'x' } }, 'not both'],
      ['a short secret', { existingSecret: '', secretValues: { secret: 'abc' } }, 'pattern'],
    ])('refuses %s', (_what, values, words) => {
      const told = renderWith(values);
      expect(told.value).toBeNull();
      expect(told.problem).toContain(words);
    });

    test('warns of MQTT that is open in the clear', () => {
      const open = renderWith({ mqtt: { service: { type: 'LoadBalancer' } } });
      expect(open.value?.notes).toContain('WARNING: MQTT is open');
      expect(render(FULL).value?.notes).not.toContain('WARNING');
    });
  },
);
