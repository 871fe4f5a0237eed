// /docs: Swagger UI over this server's own OpenAPI. The token of this tab goes with each call that changes
// something.
import { far, token, takeToken } from "./token.js";

const field = document.getElementById("token");
field.value = token();
field.addEventListener("change", () => takeToken(field.value));

// Swagger UI is a classic script with "defer": it has run before this module.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#calls",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: -1,
  requestInterceptor: (request) => {
    if ((far || (request.method ?? "GET") !== "GET") && token()) {
      request.headers.Authorization = `Bearer ${token()}`;
    }
    return request;
  },
});
