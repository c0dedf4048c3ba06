import { randomBytes, randomUUID } from 'node:crypto';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { Aedes } from 'aedes';

/** What a simulated sensor sent or was sent. */
export interface ChirpStackTally {
  events: number;
  downlinks: number;
}

interface Sensor {
  readonly devEui: string;
  readonly name: string;
  fCnt: number;
  temperature: number;
  batteryV: number;
  /** Downlinks that wait for its next uplink, as those of class A do. */
  readonly waiting: Downlink[];
}
interface Downlink {
  readonly id: string;
  readonly fPort: number;
  readonly confirmed: boolean;
}

export const DEMO_APPLICATION = { id: '8a1f3f6e-3f0b-4a42-9b5a-6f4d1c0a7e11', name: 'Demo greenhouse' } as const;
const PROFILE = { id: '5f2b8a34-7c51-4c8e-9d1e-0f6a2b3c4d5e', name: 'Demo climate sensor' } as const;
const TENANT = { id: '52f14cd4-c6f1-4fbd-8f87-4025e1d49242', name: 'Demo' } as const;
const GATEWAYS = [
  { id: '0016c001f153a14c', location: { latitude: 52.0907, longitude: 5.1214, altitude: 12 } },
  { id: '0016c001f153a14d', location: { latitude: 52.0921, longitude: 5.1189, altitude: 14 } },
] as const;
const FREQUENCIES = [868_100_000, 868_300_000, 868_500_000, 867_100_000, 867_300_000] as const;
/** A status report at every so-manieth uplink. */
const STATUS_EVERY = 20;

/** A ChirpStack v4 with its broker and class A sensors, without a radio: events in the shape of its documentation, at the
 *  topics that it uses; downlinks are taken, transmitted after the sensor's next uplink and, where they are confirmed,
 *  acknowledged.
 *  @source https://www.chirpstack.io/docs/chirpstack/integrations/events.html */
export class SimulatedChirpStack {
  readonly tally: ChirpStackTally = { events: 0, downlinks: 0 };
  readonly sensors: readonly Sensor[];
  readonly #broker: Aedes;
  readonly #server: Server;
  readonly #password: string;

  private constructor(broker: Aedes, server: Server, password: string, sensors: readonly Sensor[]) {
    this.#broker = broker;
    this.#server = server;
    this.#password = password;
    this.sensors = sensors;
  }

  /** Opens the broker on a free port of loopback, for one user with a password of its own. */
  static async start(sensorCount: number): Promise<SimulatedChirpStack> {
    const password = randomBytes(18).toString('base64url');
    const broker = await Aedes.createBroker({
      authenticate: (_client, _user, given, done) => done(null, given?.toString() === password),
    });
    const server = createServer({ noDelay: true }, broker.handle);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => resolve());
    });
    const sensors = Array.from(
      { length: sensorCount },
      (_, index): Sensor => ({
        devEui: (0x70b3d57ed0050000n + BigInt(index + 1)).toString(16),
        name: `demo-climate-${String(index + 1).padStart(3, '0')}`,
        fCnt: 0,
        temperature: 17 + Math.random() * 8,
        batteryV: 3.6 - Math.random() * 0.3,
        waiting: [],
      }),
    );
    const simulated = new SimulatedChirpStack(broker, server, password, sensors);
    await simulated.#takeDownlinks();
    return simulated;
  }

  /** What a network server of this kind is made with. */
  get connection(): { url: string; username: string; password: string } {
    const { port } = this.#server.address() as AddressInfo;
    return { url: `mqtt://127.0.0.1:${port}`, username: 'millrace', password: this.#password };
  }

  join(sensor: Sensor): Promise<void> {
    return this.#publish(sensor, 'join', { devAddr: devAddrOf(sensor), relayRxInfo: null });
  }

  /** One uplink of a sensor with what follows from it. */
  async uplink(sensor: Sensor, nowMs: number): Promise<void> {
    const { temperature, humidity } = climate(sensor, nowMs);
    const [best, other] = Math.random() < 0.5 ? GATEWAYS : [GATEWAYS[1], GATEWAYS[0]];
    const data = Buffer.alloc(6);
    data.writeInt16BE(Math.round(temperature * 100), 0);
    data.writeUInt16BE(Math.round(humidity * 100), 2);
    data.writeUInt16BE(Math.round(sensor.batteryV * 1_000), 4);
    const spreadingFactor = 7 + (sensor.fCnt % 3);
    await this.#publish(sensor, 'up', {
      devAddr: devAddrOf(sensor),
      adr: true,
      dr: 12 - spreadingFactor,
      fCnt: sensor.fCnt,
      fPort: 2,
      confirmed: false,
      data: data.toString('base64'),
      object: { temperature, humidity, battery_v: Number(sensor.batteryV.toFixed(3)) },
      rxInfo: [best, other].map((gateway, place) => ({
        gatewayId: gateway.id,
        uplinkId: Math.floor(Math.random() * 2 ** 32),
        gwTime: new Date(nowMs).toISOString(),
        rssi: -70 - Math.floor(Math.random() * 40) - place * 10,
        snr: Math.round((9 - Math.random() * 12 - place * 3) * 10) / 10,
        location: gateway.location,
        crcStatus: 'CRC_OK',
      })),
      txInfo: {
        frequency: FREQUENCIES[sensor.fCnt % FREQUENCIES.length],
        modulation: { lora: { bandwidth: 125_000, spreadingFactor, codeRate: 'CR_4_5' } },
      },
    });
    sensor.fCnt++;
    sensor.batteryV = Math.max(2.8, sensor.batteryV - 0.00002);
    if (sensor.fCnt % STATUS_EVERY === 0) {
      await this.#publish(sensor, 'status', {
        margin: 10,
        externalPowerSource: false,
        batteryLevelUnavailable: false,
        batteryLevel: Math.round(((sensor.batteryV - 2.8) / 0.8) * 1_000) / 10,
      });
    }
    for (const downlink of sensor.waiting.splice(0)) await this.#transmit(sensor, downlink);
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#broker.close(resolve));
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #transmit(sensor: Sensor, { id, fPort, confirmed }: Downlink): Promise<void> {
    const [gateway] = GATEWAYS;
    await this.#publish(sensor, 'txack', {
      downlinkId: Math.floor(Math.random() * 2 ** 32),
      queueItemId: id,
      fCntDown: sensor.fCnt,
      gatewayId: gateway.id,
      txInfo: { frequency: 869_525_000, power: 27, modulation: { lora: { bandwidth: 125_000, spreadingFactor: 9 } } },
    });
    if (confirmed) await this.#publish(sensor, 'ack', { queueItemId: id, acknowledged: true, fCntDown: sensor.fCnt });
    this.tally.downlinks++;
    process.stdout.write(`\n${sensor.name} was sent ${confirmed ? 'a confirmed' : 'a'} downlink on port ${fPort}\n`);
  }

  #publish(sensor: Sensor, event: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const payload = {
      deduplicationId: randomUUID(),
      time: new Date().toISOString(),
      deviceInfo: {
        tenantId: TENANT.id,
        tenantName: TENANT.name,
        applicationId: DEMO_APPLICATION.id,
        applicationName: DEMO_APPLICATION.name,
        deviceProfileId: PROFILE.id,
        deviceProfileName: PROFILE.name,
        deviceName: sensor.name,
        devEui: sensor.devEui,
        deviceClassEnabled: 'CLASS_A',
        tags: {},
      },
      ...fields,
    };
    this.tally.events++;
    return new Promise((resolve, reject) => {
      this.#broker.publish(
        {
          cmd: 'publish',
          topic: `application/${DEMO_APPLICATION.id}/device/${sensor.devEui}/event/${event}`,
          payload: Buffer.from(JSON.stringify(payload)),
          qos: 1,
          retain: false,
          dup: false,
        },
        (error) => (error ? reject(error) : resolve()),
      );
    });
  }

  #takeDownlinks(): Promise<void> {
    const byEui = new Map(this.sensors.map((sensor) => [sensor.devEui, sensor]));
    return new Promise((resolve) => {
      this.#broker.subscribe(
        `application/${DEMO_APPLICATION.id}/device/+/command/down`,
        ({ topic, payload }, done) => {
          const sensor = byEui.get(topic.split('/')[3] ?? '');
          const downlink = downlinkOf(payload.toString());
          if (sensor !== undefined && downlink !== null) sensor.waiting.push(downlink);
          done();
        },
        () => resolve(),
      );
    });
  }
}

function downlinkOf(text: string): Downlink | null {
  try {
    const { id, fPort, confirmed } = JSON.parse(text) as { id?: string; fPort?: number; confirmed?: boolean };
    return { id: id ?? randomUUID(), fPort: fPort ?? 0, confirmed: confirmed === true };
  } catch {
    return null;
  }
}

const devAddrOf = ({ devEui }: Sensor): string => `01${devEui.slice(-6)}`;

/** A greenhouse over the day. */
function climate(sensor: Sensor, nowMs: number): { temperature: number; humidity: number } {
  const goal = 19 + 7 * Math.sin((nowMs / 86_400_000) * 2 * Math.PI);
  sensor.temperature += (goal - sensor.temperature) * 0.01 + (Math.random() - 0.5) * 0.2;
  const temperature = Math.round(sensor.temperature * 100) / 100;
  return { temperature, humidity: Math.round((75 - (temperature - 19) * 2 + Math.random() * 2) * 100) / 100 };
}
