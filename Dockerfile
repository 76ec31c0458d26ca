FROM python:3.11-slim AS build
WORKDIR /build
COPY . .
RUN python -m venv /opt/fhirstore \
    && /opt/fhirstore/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[mongo]' ./plugins/sas

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/fhirstore fhirstore
COPY --from=build /opt/fhirstore /opt/fhirstore
ENV PATH=/opt/fhirstore/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FHIRSTORE_STORE=sqlite:////var/lib/fhirstore/fhirstore.db
USER fhirstore
WORKDIR /var/lib/fhirstore
VOLUME /var/lib/fhirstore
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
ENTRYPOINT ["fhirstore"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080", "--log-format", "json"]
