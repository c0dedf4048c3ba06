export const name = 'certificates';
export const sql = `
`;
