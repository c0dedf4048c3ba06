import { createSocket } from 'node:dgram';
import { generate, parse } from 'coap-packet';

/** The floor: `coap-packet` parses a datagram, and an acknowledgement goes back. Nothing is asked, kept or stored. */
const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
socket.on('message', (datagram, { address, port }) => {
  const { messageId, token } = parse(datagram);
  socket.send(generate({ ack: true, code: '2.04', messageId, token }), port, address);
});
socket.bind(0, '127.0.0.1', () => process.send?.({ port: socket.address().port }));
process.once('SIGTERM', () => process.exit());
process.once('disconnect', () => process.exit());
