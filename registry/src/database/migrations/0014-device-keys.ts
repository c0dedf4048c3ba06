/** Handshakes with a pre-shared key need the key itself, also the one before while it holds beside the new one. */
export const name = 'device-keys';
export const sql = `
ALTER TABLE registry.things ADD COLUMN previous_key_sealed text;
`;
