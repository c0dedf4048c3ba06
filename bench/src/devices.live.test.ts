import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { installedMosquitto } from './bridge/brokers/mosquitto.ts';
import { runCoapRoad } from './coap/coap.ts';
import { COAP_QUICK } from './coap/options.ts';
import type { CoapReport } from './coap/report.ts';
import { formatCoapReport } from './coap/table.ts';
import { runLoraRoad } from './lora/lora.ts';
import { LORA_QUICK } from './lora/options.ts';
import { formatLoraReport, type LoraReport } from './lora/report.ts';
import { PRODUCT_MAIN } from './product.ts';

const isBuilt = existsSync(PRODUCT_MAIN);

describe.skipIf(!isBuilt)('the road by CoAP, for half a second each', () => {
  let report: CoapReport;
  beforeAll(async () => {
    report = await runCoapRoad(
      { ...COAP_QUICK, seconds: 0.5, clients: 8, channels: 4, observers: 20, notificationsPerSecond: 200 },
      () => undefined,
    );
  }, 180_000);
  const median = (name: string): number | undefined => report.figures[name]?.median;

  test('measures the floor, CoAP and CoAPS, and refuses nothing', () => {
    for (const base of ['floor/publish', 'millrace/publish', 'millrace/secure']) {
      expect(median(`${base}/requests_per_second`), base).toBeGreaterThan(0);
      expect(median(`${base}/refused`), base).toBe(0);
    }
    expect(median('millrace/handshakes/per_second')).toBeGreaterThan(0);
    expect(formatCoapReport(report)).toContain('PSK handshakes');
  });

  test('counts no more answers than messages on the log', () => {
    expect(median('millrace/publish/unexplained')).toBe(0);
    expect(median('millrace/secure/unexplained')).toBe(0);
  });

  test('gives each observer each message once', () => {
    expect(median('millrace/observe/delivered_per_second')).toBeGreaterThan(0);
    expect(median('millrace/observe/missing')).toBe(0);
    expect(median('millrace/observe/duplicates')).toBe(0);
  });
});

describe.skipIf(!isBuilt || installedMosquitto() === null)('the road by LoRaWAN, for a few events', () => {
  let report: LoraReport;
  beforeAll(async () => {
    report = await runLoraRoad({ ...LORA_QUICK, events: 300, devices: 10 }, () => undefined);
  }, 180_000);

  test('measures the floor and what the product stores', () => {
    for (const name of ['floor', 'millrace', 'millrace-all']) {
      expect(report.figures[`${name}/events_per_second`]?.median, name).toBeGreaterThan(0);
    }
    expect(formatLoraReport(report)).toContain('two durable messages each');
  });
});
