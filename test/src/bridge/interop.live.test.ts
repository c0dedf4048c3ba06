import { afterAll, beforeAll, describe } from 'vitest';
import { MosquittoBroker, missingBroker } from './clients/mosquitto-broker.ts';
import { type Broker, endConnections } from './interop/broker.ts';
import { describeConnections } from './interop/connections.ts';
import { describeMessages } from './interop/messages.ts';
import { describeSessions } from './interop/sessions.ts';

endConnections();

describe.skipIf(missingBroker !== null)(
  `MQTT 3.1.1 as Mosquitto speaks it${missingBroker === null ? '' : ` (${missingBroker})`}`,
  () => {
    const reference = new MosquittoBroker();
    let broker: Broker;
    beforeAll(async () => {
      await reference.start();
      broker = { mqtt: reference.mqtt, identity: { thing: 'anybody', key: 'none' }, root: 'channels/c/messages' };
    });
    afterAll(() => reference.dispose());
    describeConnections(() => broker);
    describeMessages(() => broker);
    describeSessions(() => broker);
  },
);
