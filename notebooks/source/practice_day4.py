# %% [markdown] lang="es"
# # Práctica del día 4: en producción
#
# Al acabar, habrás escrito una política de reparto que le gana al azar, un autoescalador que no oscila, un cliente
# que sobrevive al reinicio de su broker y una prueba que atrapa errores.
#
# **Duración**: {{minutes_of_day_4}} minutos. Es más de una hora: empieza por 17, y sigue con lo que más te interese.
# **Antes de empezar**: la [práctica del día 3](practice_day3.ipynb), por lo menos el ejercicio 12.

# %% [markdown] lang="en"
# # Practice for day 4: in production
#
# Afterwards you will have written a placement policy that beats chance, an autoscaler that does not flap, a client
# that survives the restart of its broker, and a test that catches bugs.
#
# **Time**: {{minutes_of_day_4}} minutes. It is more than an hour: begin with 17, and go on with what interests you most.
# **Before you begin**: the [practice for day 3](practice_day3.ipynb), exercise 12 at least.

# %%
from labkit.practice.notebook import begin

begin("{{lang}}", day=4)

# %% [markdown] lang="es"
# {{how_to_practice}}

# %% [markdown] lang="en"
# {{how_to_practice}}

# %% exercises=4

# %% [markdown] lang="es"
# ## ¿Hasta dónde llegaste?
#
# En una terminal, `python3 lab.py practice league` hace competir tu política del ejercicio 17 con las del
# laboratorio y las de tus compañeros. La [página de inicio](index.ipynb) lleva a todo lo demás.

# %% [markdown] lang="en"
# ## How far are you?
#
# In a terminal, `python3 lab.py practice league` lets your policy of exercise 17 compete with the lab's own and your
# classmates'. The [start page](index.ipynb) leads to everything else.

# %%
# %practice 4
